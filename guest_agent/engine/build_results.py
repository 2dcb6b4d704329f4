"""What a build has made, for who asked for it: an image, its files, or both."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from guest_agent.build.trees import ContextTree
from guest_agent.engine.build_context import read_tree
from guest_agent.engine.build_roots import build_root
from guest_agent.engine.parts import Parts
from guest_agent.wire.models import DiffId, ImageConfig


class BuildResult:
    """Empty until the build is done. Until `close` its layers stay, also where no image has them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._layers: tuple[DiffId, ...] = ()
        self._held: list[DiffId] = []
        self.config: ImageConfig | None = None  #: of a build for files only there is no such image

    @property
    def image(self) -> str:
        """Its id, "" before."""
        return self.config.id if self.config else ""

    def take(self, config: ImageConfig) -> None:
        """For the build, while it keeps the layers itself."""
        self.close()
        self.config, self._layers = config, config.diff_ids
        self._held = [layer for layer in config.diff_ids if self._parts.layers.hold(layer)]

    def close(self) -> None:
        held, self._held = self._held, []
        self._parts.layers.let_go(held)

    async def export(self) -> AsyncGenerator[bytes, None]:
        """The root as a tar."""
        layers = self._parts.layers
        async with build_root(self._parts, self._layers) as root, aclosing(layers.export(root.path)) as pieces:
            async for piece in pieces:
                yield piece

    async def open(self) -> ContextTree:
        """The root, to be read in any order; who gets it closes it."""
        async with aclosing(self.export()) as chunks:
            return await read_tree(self._parts, chunks, owned=True)
