"""The images that a build begins with or takes files from: found, or pulled once for all stages."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

from guest_agent.build.planning import SCRATCH, PlannedStage
from guest_agent.build.snapshots import Snapshot
from guest_agent.build.state import StageState
from guest_agent.build.variables import Arguments
from guest_agent.engine.build_session import BuildSession
from guest_agent.images.platforms import Platform, make_platform, parse_platform
from guest_agent.images.pull import pull
from guest_agent.images.reference import parse_reference
from guest_agent.runtime.environment import DEFAULT_PATH, has_variable
from guest_agent.wire.errors import NotFound
from guest_agent.wire.models import ContainerConfig, Image, ImageConfig


async def begin_stage(session: BuildSession, planned: PlannedStage) -> Snapshot:
    """The snapshot that a stage begins with: nothing, another stage, or an image."""
    arguments = Arguments(
        {name: value for name, value in session.request.arguments.items() if value is not None},
        {**session.plan.global_arguments, "TARGETSTAGE": session.request.target or "default"},
    )
    state = StageState(ContainerConfig(), arguments, session.plan.escape)
    if planned.base.stage is not None:
        return _continue(await session.done[planned.base.stage])
    name = planned.base.image
    if planned.base.context:
        name = session.request.named_images.get(planned.base.context, SCRATCH)
    if name == SCRATCH:
        return Snapshot(key=f"{SCRATCH} {session.platform}", state=replace(state, config=_with_path(ContainerConfig())))
    image = await find_image(session, planned.stage.index, name, planned.platform)
    return _from_image(state, image, is_stored=session.parts.images.has(image.id))


def _continue(before: Snapshot) -> Snapshot:
    """A stage on top of a stage: its ARGs hold on (as with BuildKit), its CMD counts as inherited."""
    return replace(before, state=replace(before.state, command_set=False))


def _from_image(state: StageState, image: ImageConfig, is_stored: bool) -> Snapshot:
    return Snapshot(
        key=image.id,
        state=replace(state, config=_with_path(image.config), author=image.author),
        diff_ids=image.diff_ids,
        history=image.history,
        created=image.created,
        parent=image.id if is_stored else "",
        base_layers=len(image.diff_ids),
    )


def _with_path(config: ContainerConfig) -> ContainerConfig:
    if has_variable(config.environment, "PATH"):
        return config
    return replace(config, environment=(*config.environment, f"PATH={DEFAULT_PATH}"))


async def find_image(session: BuildSession, stage: int, name: str, platform: str = "") -> ImageConfig:
    """The image with its layers kept for the build. Pulled where it is missing, of another platform, or --pull says so.

    Two stages that want the same one wait for the same pull.
    """
    wanted = platform or (session.request.platform and str(session.platform))
    key = f"{name} {wanted}"
    if key not in session.pulls:
        session.pulls[key] = asyncio.ensure_future(_provide(session, stage, name, wanted))
    image = await asyncio.shield(session.pulls[key])
    for diff_id in image.diff_ids:
        if not session.staging.reuse(diff_id):
            raise NotFound(f"layer {diff_id} of the image {name} is missing")
    return image


async def _provide(session: BuildSession, stage: int, name: str, platform: str) -> ImageConfig:
    images = session.parts.images
    if name in session.request.unstored:
        return session.request.unstored[name]
    if not session.request.pull:
        try:
            found = images.find(name)
        except NotFound:
            pass
        else:
            if _fits(found, platform):
                return found.config
    session.check_may_work()
    credentials = await session.client.credentials_of(parse_reference(name).domain)
    pulling = pull(images, name, platform, session.parts.registries, credentials, strict=True)
    async with aclosing(pulling) as reports:
        async for report in reports:
            session.output.report(stage, report)
            await session.reports.room()
    return images.find(name).config


def _fits(image: Image, platform: str) -> bool:
    if not platform:
        return True
    config = image.config
    found: Platform = make_platform(config.os or "linux", config.architecture, config.variant)
    return parse_platform(platform).runs(found)
