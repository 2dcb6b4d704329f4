"""The real stores in a scratch folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guest_agent.images.pull import pull
from guest_agent.images.store import ImageStore
from guest_agent.images.transport import RegistrySettings
from guest_agent.layers.store import LayerStore
from guest_agent.store.content import ContentStore
from guest_agent.store.paths import EnginePaths
from guest_agent.store.records import Records
from guest_agent.wire.models import Credentials, DiffId

QUICK = RegistrySettings(timeout=5, retry_delay=0.01, retries=2, keep_finished=0)


class Stores:
    """`images` and `layers` over one data folder; `reopen` is what a new engine sees."""

    def __init__(self, root: Path) -> None:
        self.paths = EnginePaths(os.fspath(root), os.fspath(root / "run"))
        os.makedirs(self.paths.data, exist_ok=True)
        self.records = Records(self.paths.database, self.paths.set_aside)
        self.layers = LayerStore(self.records, self.paths.layers, self.paths.temporary)
        self.warnings = self.layers.start()
        self.images = ImageStore(self.records, ContentStore(self.paths.content), self.layers)
        self.warnings += self.images.start()
        self.layers.sweep()

    def reopen(self) -> Stores:
        self.records.close()
        return Stores(Path(self.paths.data))

    async def pull(
        self,
        name: str,
        platform: str = "linux/amd64",
        credentials: Credentials | None = None,
        settings: RegistrySettings = QUICK,
        strict: bool = False,
    ) -> list[Mapping[str, Any]]:
        pulling = pull(self.images, name, platform, settings, credentials, strict=strict)
        return [progress async for progress in pulling]

    def leftovers(self) -> list[str]:
        """What shouldn't be on disk: temporary things, and layers and blobs that no image has."""
        configs = [image.config for image in self.images.all()]
        layers = {self.layers.names([diff_id])[0] for config in configs for diff_id in config.diff_ids}
        found = set(os.listdir(self.paths.layers)) - layers - {f"{name}.outline" for name in layers} - {"empty"}
        return sorted(found) + os.listdir(self.paths.temporary)

    def tree(self, diff_id: DiffId) -> set[str]:
        root = Path(self.layers.path(diff_id))
        return {os.fspath(path.relative_to(root)) for path in root.rglob("*")}
