"""One stage of a build: its instructions in order, each taken from the cache or carried out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

from guest_agent.build.instructions import Check, Copy, Instruction, Run, Volumes, WorkingDir
from guest_agent.build.parsing import parse_trigger
from guest_agent.build.planning import SCRATCH, PlannedStage
from guest_agent.build.snapshots import Snapshot, StepResult
from guest_agent.build.state import StageState, apply, describe_run, find_program, identify_run, plan_run_words
from guest_agent.build.variables import environment_of
from guest_agent.engine.build_bases import begin_stage
from guest_agent.engine.build_cache_mounts import name_caches
from guest_agent.engine.build_files import check_volumes, make_working_dir, perform_copy, plan_copy
from guest_agent.engine.build_mounts import (
    Mounted,
    describe_mounts,
    expand_mounts,
    make_mounts,
    mount_program,
)
from guest_agent.engine.build_requests import BuildStepFailed
from guest_agent.engine.build_roots import build_root, keep_changes
from guest_agent.engine.build_run import RunPlan, run_step
from guest_agent.engine.build_session import BuildSession
from guest_agent.engine.build_sources import Origins
from guest_agent.engine.creation import plan_argv
from guest_agent.engine.error_frames import forget_frames
from guest_agent.wire.errors import Forbidden, HostvmError, InvalidArgument
from guest_agent.wire.models import ContainerConfig, Healthcheck, HostConfig
from guest_agent.wire.times import rfc3339_padded

#: A heredoc's or a long list's line isn't repeated whole.
_LONGEST_SHOWN = 500
_MEANINGS = {
    126: "the command was found, but can't be executed",
    127: "a command of this line isn't in the image",
    137: "it was killed: by the kernel, if the memory was too small",
}
#: Makes a step's layer: its diff id, "" for none.
Work = Callable[[], Awaitable[str]]


class StageBuild:
    """The work of one stage. `run` once."""

    def __init__(self, session: BuildSession, planned: PlannedStage) -> None:
        self._session = session
        self._planned = planned
        self._number = session.numbers.first[planned.stage.index]
        self._place = 0

    async def run(self) -> Snapshot:
        """The stage's end. Raises HostvmError with the line of the Dockerfile in its hint."""
        stage = self._planned.stage
        self._announce(stage.line.source)
        self._session.watcher.began(stage.index, self._place)
        try:
            snapshot = await begin_stage(self._session, self._planned)
        except HostvmError:
            self._fail(stage.line.number)
            raise
        self._say(f" ---> {_short(snapshot.key)}\n")
        snapshot = await self._run_triggers(await self._take_folder(snapshot))
        self._session.watcher.ended(stage.index, self._place)
        for place, instruction in enumerate(stage.instructions, 1):
            self._place = place
            self._announce(instruction.line.source)
            snapshot = await self._step(snapshot, instruction)
            self._session.watcher.ended(stage.index, place)
        self._session.output.finish(stage.index)
        return snapshot

    async def _take_folder(self, snapshot: Snapshot) -> Snapshot:
        """FROM a context that is no image: its files are all that the stage begins with."""
        context = self._planned.base.context
        if not context or context in self._session.request.named_images:
            return snapshot
        return await self._step(snapshot, parse_trigger(f"COPY --from={context} . /", snapshot.state.escape))

    async def _run_triggers(self, snapshot: Snapshot) -> Snapshot:
        """ONBUILD of what the stage begins with; the image that is made hasn't got them any more."""
        triggers = snapshot.state.config.on_build
        if not triggers:
            return snapshot
        self._say(f"# Executing {len(triggers)} build trigger{'s' if len(triggers) > 1 else ''}\n")
        config = replace(snapshot.state.config, on_build=())
        snapshot = replace(snapshot, state=replace(snapshot.state, config=config))
        for trigger in triggers:
            snapshot = await self._step(snapshot, parse_trigger(trigger, snapshot.state.escape))
        return snapshot

    async def _step(self, snapshot: Snapshot, instruction: Instruction) -> Snapshot:
        for stage in self._stages_of(instruction):
            await asyncio.shield(self._session.done[stage])
        async with self._session.slots:
            self._session.watcher.began(self._planned.stage.index, self._place)
            try:
                return await self._perform(snapshot, instruction)
            except BaseException as error:
                forget_frames(error)
                if isinstance(error, HostvmError):
                    error.hint = error.hint or f"line {instruction.line.number}: {_shown(instruction.line.source)}"
                    self._fail(instruction.line.number if self._place else self._planned.stage.line.number)
                raise

    def _stages_of(self, instruction: Instruction) -> list[int]:
        """The stages that an instruction takes files from."""
        names = [instruction.origin] if isinstance(instruction, Copy) else []
        if isinstance(instruction, Run):
            names = [mount.origin for mount in instruction.mounts]
        origins = (self._session.plan.find_origin(self._planned, name) for name in names)
        return [origin.stage for origin in origins if origin.stage is not None]

    async def _perform(self, snapshot: Snapshot, instruction: Instruction) -> Snapshot:
        if isinstance(instruction, Run):
            return await self._run(snapshot, instruction)
        if isinstance(instruction, Copy):
            return await self._copy(snapshot, instruction)
        state, comment = apply(snapshot.state, instruction)
        words = state.filled(comment) if isinstance(instruction, WorkingDir) else state.nothing(comment)
        made = replace(snapshot, state=state)
        owner = self._owner_made_for(instruction, state)
        if isinstance(instruction, Check):
            self._note_lost_check(snapshot.state.config.healthcheck)

        async def work() -> str:
            if isinstance(instruction, WorkingDir):
                return await make_working_dir(self._session, snapshot, state.config.working_dir, owner)
            if isinstance(instruction, Volumes) and not self._session.request.by_buildkit:
                await check_volumes(self._session, snapshot, state.config.volumes)
            return ""

        key = snapshot.next_key(repr((comment, owner)) if owner else comment)
        return await self._take_or_make(made, key, words, work, told=not owner)

    def _owner_made_for(self, instruction: Instruction, state: StageState) -> str:
        """ "" for root."""
        for_user = self._session.request.workdir_for_user and isinstance(instruction, WorkingDir)
        return state.config.user if for_user else ""

    def _note_lost_check(self, before: Healthcheck | None) -> None:
        if before is not None and before.test and before.test != ("NONE",):
            self._say(f"Note: overriding previous HEALTHCHECK: [{' '.join(before.test)}]\n")

    async def _copy(self, snapshot: Snapshot, copy: Copy) -> Snapshot:
        origins = Origins(self._session, self._planned)
        try:
            planned = await plan_copy(self._session, origins, snapshot, copy)

            async def work() -> str:
                return await perform_copy(self._session, origins, snapshot, planned)

            key, words = snapshot.next_key(planned.identity), snapshot.state.filled(planned.comment)
            return await self._take_or_make(snapshot, key, words, work, told=copy.unpack is None)
        finally:
            await origins.close()

    async def _run(self, snapshot: Snapshot, run: Run) -> Snapshot:
        if self._network_of(run) == "host" and not self._session.request.host_network:
            raise Forbidden("failed to load LLB: network.host is not allowed", "allow it with --allow network.host")
        argv = plan_run_words(snapshot.state, run)
        mounts = expand_mounts(snapshot, run)
        origins = Origins(self._session, self._planned)
        try:
            described = await describe_mounts(origins, mounts)
            caches = await name_caches(origins, mounts)
            program = find_program(run)
            key = snapshot.next_key(identify_run(snapshot.state, run, described))

            async def work() -> str:
                async with AsyncExitStack() as undo:
                    await self._session.empty_caches(caches.values(), self._planned.stage)
                    mounted = await make_mounts(self._session, origins, mounts, caches, undo)
                    if program is not None:
                        mount_program(self._session, program, undo, mounted)
                    return await self._execute(snapshot, run, argv, mounted)

            told = not mounts and program is None
            return await self._take_or_make(snapshot, key, describe_run(snapshot.state, argv), work, told)
        finally:
            await origins.close()

    async def _execute(self, snapshot: Snapshot, run: Run, argv: tuple[str, ...], mounted: Mounted) -> str:
        """A volume's folder is there, as the classic builder has it; what is written to it stays, as with BuildKit."""
        session = self._session
        volumes = [f"{path}/" for path in snapshot.state.config.volumes]
        async with build_root(session.parts, snapshot.diff_ids, [*mounted.stubs, *volumes]) as root:
            self._say(f" ---> Running in {root.id[:12]}\n")
            plan = RunPlan(
                self._plan_config(snapshot, argv or _own_command(snapshot), mounted),
                self._plan_host(run),
                tuple(mounted.points),
            )
            code = await run_step(session.parts, root, plan, self._repeat)
            if code:
                raise BuildStepFailed(" ".join(argv), code, _hint(code, run))
            self._say(f" ---> Removed intermediate container {root.id[:12]}\n")
            return await keep_changes(session.parts, root, session.staging)

    def _plan_config(self, snapshot: Snapshot, argv: tuple[str, ...], mounted: Mounted) -> ContainerConfig:
        state = snapshot.state
        known = environment_of(state.config.environment)
        arguments = {**state.arguments.proxies(), **state.arguments.for_run(known)}
        given = [f"{name}={value}" for name, value in arguments.items() if name not in known]
        return ContainerConfig(
            command=argv,
            environment=(*given, *state.config.environment, *mounted.environment),
            working_dir=state.config.working_dir,
            user=state.config.user,
        )

    def _network_of(self, run: Run) -> str:
        return run.network if run.network in ("none", "host") else self._session.request.network_mode or "default"

    def _plan_host(self, run: Run) -> HostConfig:
        request = self._session.request
        host = HostConfig(
            network_mode=self._network_of(run),
            extra_hosts=request.extra_hosts,
            resources=request.resources,
            cgroup_parent=request.cgroup_parent,
            security_opt=request.security_opt,
        )
        return replace(host, shm_size=request.shm_size) if request.shm_size else host

    async def _take_or_make(
        self, snapshot: Snapshot, key: str, words: tuple[str, ...], work: Work, told: bool = True
    ) -> Snapshot:
        """From the cache, as long as everything before was; else by work.

        `told`: the history's words tell all that the step follows from. Only then an image's layer may stand for it.
        """
        session, stage, created_by = self._session, self._planned.stage, " ".join(words)
        async with session.turn(key, stage):
            found = session.find_step(key, stage)
            if found is None and told:
                found = session.find_in_images(snapshot, created_by, stage)
            if found is not None:
                self._say(" ---> Using cache\n")
                session.watcher.cached(stage.index, self._place)
            else:
                session.check_may_work()
                diff_id = await work()
                found = StepResult(rfc3339_padded(time.time_ns()), diff_id)
            found = replace(found, description=created_by, parent=snapshot.made_by)
            session.steps[key] = found
        after = snapshot.after(key, words, found)
        self._say(f" ---> {_short(after.key)}\n")
        return after

    def _fail(self, line: int) -> None:
        self._session.watcher.failed(self._planned.stage.index, self._place, line)

    def _announce(self, source: str) -> None:
        """In two pieces, as the classic builder: clients count them."""
        self._say(f"Step {self._number}/{self._session.numbers.total} : {_shown(source)}")
        self._say("\n")
        self._number += 1

    def _say(self, text: str) -> None:
        self._session.output.say(self._planned.stage.index, text)

    async def _repeat(self, stream: int, text: str) -> None:
        """A command's output: it may be much, and waits for the client."""
        self._session.watcher.said(self._planned.stage.index, self._place, stream, text)
        say = self._session.output.say if stream == 1 else self._session.output.complain
        say(self._planned.stage.index, text)
        await self._session.reports.room()


def _own_command(snapshot: Snapshot) -> tuple[str, ...]:
    """What `RUN []` runs: what a container of the image so far would."""
    words = plan_argv(snapshot.state.config)
    if not words:
        raise InvalidArgument("no command specified")
    return words


def _short(key: str) -> str:
    """Nothing for a stage that begins with nothing."""
    return "" if key.startswith(SCRATCH) else key.removeprefix("sha256:")[:12]


def _shown(source: str) -> str:
    return source if len(source) <= _LONGEST_SHOWN else source[:_LONGEST_SHOWN] + "..."


def _hint(code: int, run: Run) -> str:
    """What an exit code usually means, with the line; "" for one that may mean anything."""
    meaning = _MEANINGS.get(code)
    return f"line {run.line.number}: {meaning}" if meaning else ""
