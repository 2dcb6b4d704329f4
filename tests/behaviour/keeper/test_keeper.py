"""The keeper as a process: what it starts, what it holds, what it remembers, and when it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from guest_agent.keeper import protocol
from guest_agent.linux.process import start_ticks
from guest_agent.wire.errors import HostFailed
from tests.behaviour.keeper.stage import DEADLINE, FakeEngine, KeeperProcess, keeper_process

Play = Callable[[Callable[[KeeperProcess], Awaitable[None]]], None]


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[KeeperProcess]:
    with keeper_process(tmp_path) as started:
        yield started


@pytest.fixture
def play(keeper: KeeperProcess) -> Play:
    """Runs a scenario, with a deadline for what the keeper doesn't do."""

    def run(scenario: Callable[[KeeperProcess], Awaitable[None]]) -> None:
        async def main() -> None:
            async with asyncio.timeout(DEADLINE):
                await scenario(keeper)

        asyncio.run(main())

    return run


def sh(command: str) -> list[str]:
    return ["/bin/sh", "-c", command]


async def run_sh(engine: FakeEngine, command: str, fds: dict[int, int] | None = None) -> int:
    pid, _ticks = await engine.client.spawn(sh(command), fds or {})
    return os.waitstatus_to_exitcode(await engine.client.wait(pid))


# -- processes


def test_a_process_gets_its_words_its_environment_and_its_descriptors(play: Play) -> None:
    async def scenario(keeper: KeeperProcess) -> None:
        engine = keeper.next_engine()
        (out_reader, out_writer), (in_reader, in_writer) = os.pipe(), os.pipe()
        os.write(in_writer, b"typed\n")
        pid, ticks = await engine.client.spawn(
            sh("read line; echo $line $NAME; ls /proc/self/fd | wc -l; exit 7"),
            {0: in_reader, 1: out_writer},
            {"NAME": "value", "PATH": "/usr/bin:/bin"},
        )
        assert ticks > 0 and start_ticks(pid) in (ticks, 0)
        assert os.waitstatus_to_exitcode(await engine.client.wait(pid)) == 7
        # stdin, stdout, the keeper's own stderr, and the folder that `ls` reads.
        assert os.read(out_reader, 100).split() == [b"typed", b"value", b"4"]
        for fd in (out_reader, out_writer, in_reader, in_writer):
            os.close(fd)

    play(scenario)


def test_a_target_may_have_the_number_of_another_descriptor(play: Play) -> None:
    """Placed one after the other, 4 over 3 and 3 over 4 would overwrite each other."""

    async def scenario(keeper: KeeperProcess) -> None:
        engine = keeper.next_engine()
        pipes = [os.pipe() for _ in range(8)]
        fds = {number + 3: pipes[number][1] for number in reversed(range(8))}
        assert await run_sh(engine, "for n in 3 4 5 6 7 8 9; do eval echo $n \\>\\&$n; done", fds) == 0
        for _reader, writer in pipes:
            os.close(writer)
        said = [os.read(reader, 10) for reader, _writer in pipes]
        assert said == [b"%d\n" % number for number in range(3, 10)] + [b""]
        for reader, _writer in pipes:
            os.close(reader)

    play(scenario)


@pytest.mark.parametrize("argv", [["/nowhere/program"], ["/bin/echo", "a\0b"]])
def test_what_cannot_be_started_is_an_error_and_the_keeper_goes_on(play: Play, argv: list[str]) -> None:
    async def scenario(keeper: KeeperProcess) -> None:
        engine = keeper.next_engine()
        with pytest.raises(HostFailed, match="can't start"):
            await engine.client.spawn(argv, {0: 0})
        assert await run_sh(engine, "exit 3") == 3

    play(scenario)


def test_200_spawns_at_once(play: Play) -> None:
    async def scenario(keeper: KeeperProcess) -> None:
        engine = keeper.next_engine()
        reader, writer = os.pipe()
        runs = (run_sh(engine, f"echo x; exit {number}", {1: writer}) for number in range(200))
        assert await asyncio.gather(*runs) == list(range(200))
        os.close(writer)
        assert os.read(reader, 1000) == b"x\n" * 200
        os.close(reader)
        assert len(engine.client.past_exits()) == 200

    play(scenario)


def test_an_orphan_is_reported_by_pid_and_start_time(play: Play) -> None:
    """What a container's init is to its runtime: a child whose parent has ended."""

    async def scenario(keeper: KeeperProcess) -> None:
        engine = keeper.next_engine()
        (pid_reader, pid_writer), (go_reader, go_writer) = os.pipe(), os.pipe()
        fds = {0: go_reader, 1: pid_writer}
        assert await run_sh(engine, "exec 3<&0; sh -c 'echo $$; read line; exit 42' <&3 &", fds) == 0
        orphan = int(os.read(pid_reader, 20))
        ticks = start_ticks(orphan)
        os.write(go_writer, b"go\n")
        assert os.waitstatus_to_exitcode(await engine.client.wait(orphan)) == 42
        assert os.waitstatus_to_exitcode(engine.client.past_exits()[orphan, ticks]) == 42
        for fd in (pid_reader, pid_writer, go_reader, go_writer):
            os.close(fd)

    play(scenario)


def test_a_signals_status_and_a_name_full_of_brackets(play: Play, tmp_path: Path) -> None:
    """/proc/<pid>/stat has the command's name in brackets, and a name may hold some itself."""
    script = tmp_path / "a) R 1 (b"
    script.write_text("#!/bin/sh\nkill -9 $$\n")
    script.chmod(0o755)

    async def scenario(keeper: KeeperProcess) -> None:
        engine = keeper.next_engine()
        pid, ticks = await engine.client.spawn([str(script)], {})
        assert os.waitstatus_to_exitcode(await engine.client.wait(pid)) == -9
        assert engine.client.past_exits()[pid, ticks] == 9

    play(scenario)


# -- engines that come and go


def test_what_was_held_comes_back_after_kill_9(play: Play) -> None:
    async def scenario(keeper: KeeperProcess) -> None:
        first = keeper.next_engine()
        reader, writer = os.pipe()
        first.client.hold("stdio:a", [reader, writer], "a note")
        first.client.hold("gone", [reader])
        first.client.hold("replaced", [reader])
        first.client.hold("replaced", [writer], "by this")
        first.client.drop("gone")
        os.close(reader)
        os.close(writer)
        first.kill()
        second = keeper.next_engine()
        assert second.client.keys() == ["replaced", "stdio:a"]
        fds, note = second.client.get("stdio:a")
        os.write(fds[1], b"in the pipe")
        second.kill()
        third = keeper.next_engine()
        again, note = third.client.get("stdio:a")
        assert (os.read(again[0], 100), note) == (b"in the pipe", "a note")
        assert third.client.get("replaced")[1] == "by this"
        for fd in (*fds, *again):
            os.close(fd)

    play(scenario)


def test_a_dropped_pipe_ends(play: Play) -> None:
    async def scenario(keeper: KeeperProcess) -> None:
        engine = keeper.next_engine()
        reader, writer = os.pipe()
        engine.client.hold("key", [writer])
        os.close(writer)
        engine.client.drop("key")
        assert await run_sh(engine, "exit 0") == 0
        assert os.read(reader, 1) == b""
        os.close(reader)

    play(scenario)


def test_what_a_killed_engine_still_wrote_counts(play: Play) -> None:
    """The keeper is stopped, so that a `hold` lies unread in its queue, and an answer unread in the engine's."""

    async def scenario(keeper: KeeperProcess) -> None:
        engine = keeper.next_engine()
        reader, writer = os.pipe()
        protocol.send(engine.channel, {"op": "spawn", "id": 0, "argv": ["/bin/true"], "targets": []})
        await until_exits(engine, 1)
        keeper.process.send_signal(signal.SIGSTOP)
        keeper.wait_stopped()
        engine.client.hold("late", [writer], "late note")
        os.close(writer)
        engine.kill()
        keeper.process.send_signal(signal.SIGCONT)
        successor = keeper.next_engine()
        fds, note = successor.client.get("late")
        assert note == "late note"
        os.write(fds[0], b"alive")
        assert os.read(reader, 10) == b"alive"
        for fd in (reader, *fds):
            os.close(fd)

    play(scenario)


async def until_exits(engine: FakeEngine, count: int) -> None:
    """The journal is written before the engine is told, so that being told of another one is enough."""
    while len(engine.client.past_exits()) < count:
        await run_sh(engine, "exit 0")


def test_who_ended_while_there_was_no_engine_is_in_the_journal(play: Play) -> None:
    async def scenario(keeper: KeeperProcess) -> None:
        first = keeper.next_engine()
        reader, writer = os.pipe()
        pid, ticks = await first.client.spawn(sh("read line; exit 23"), {0: reader})
        first.kill()
        second = keeper.next_engine()
        assert (pid, ticks) not in second.client.past_exits()
        second.kill()
        os.write(writer, b"go\n")
        third = keeper.next_engine()
        assert os.waitstatus_to_exitcode(await exit_of(third, pid, ticks)) == 23
        for fd in (reader, writer):
            os.close(fd)

    play(scenario)


async def exit_of(engine: FakeEngine, pid: int, ticks: int) -> int:
    """From the journal, or from the channel where it ended just now."""
    known = engine.client.past_exits().get((pid, ticks))
    return known if known is not None else await engine.client.wait(pid)


def test_the_journal_is_rotated_and_both_halves_are_read(play: Play) -> None:
    async def scenario(keeper: KeeperProcess) -> None:
        engine = keeper.next_engine()
        with keeper.journal.open("ab") as journal:
            journal.write(b"1 1 0\n" * 180_000)
        for _ in range(3):
            await run_sh(engine, "exit 5")
        assert keeper.journal.with_name("exits.old").stat().st_size > 1 << 20
        assert len(keeper.journal.read_bytes().splitlines()) == 2
        assert list(engine.client.past_exits().values()).count(5 << 8) == 3

    play(scenario)


def test_an_engine_that_dies_again_and_again_comes_back(play: Play) -> None:
    async def scenario(keeper: KeeperProcess) -> None:
        pids = set()
        for _ in range(4):
            engine = keeper.next_engine()
            pids.add(engine.pid)
            engine.kill()
        survivor = keeper.next_engine()
        assert len(pids | {survivor.pid}) == 5
        assert await run_sh(survivor, "exit 6") == 6

    play(scenario)


def test_clients_only_wait_while_an_engine_is_replaced(play: Play) -> None:
    async def scenario(keeper: KeeperProcess) -> None:
        keeper.next_engine().kill()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(keeper.socket_path)
            successor = keeper.next_engine()
            with socket.socket(fileno=os.dup(successor.listener)) as listener:
                connection, _address = listener.accept()
                with connection:
                    connection.send(b"served")
            assert client.recv(10) == b"served"

    play(scenario)


# -- how it ends


def test_whoever_started_it_is_told_once(play: Play) -> None:
    async def scenario(keeper: KeeperProcess) -> None:
        engine = keeper.next_engine()
        engine.client.ready()
        engine.client.ready()
        assert keeper.said() == b"ready\n"
        assert keeper.said() == b""
        assert await run_sh(engine, "exit 0") == 0

    play(scenario)


def test_an_engine_that_cannot_start_says_why_and_is_not_started_again(play: Play) -> None:
    async def scenario(keeper: KeeperProcess) -> None:
        engine = keeper.next_engine()
        engine.client.failed("host-failed", "no cgroups", "mount some")
        engine.end(1)
        assert keeper.wait() == 0
        assert json.loads(keeper.said()) == {"kind": "host-failed", "message": "no cgroups", "hint": "mount some"}

    play(scenario)


def test_quit_ends_it_with_its_engine(play: Play) -> None:
    async def scenario(keeper: KeeperProcess) -> None:
        engine = keeper.next_engine()
        engine.client.quit()
        engine.end()
        assert keeper.wait() == 0

    play(scenario)


def test_sigterm_reaches_the_engine_and_both_end(play: Play) -> None:
    async def scenario(keeper: KeeperProcess) -> None:
        engine = keeper.next_engine()
        engine.client.ready()
        assert keeper.said() == b"ready\n"
        keeper.process.terminate()
        assert engine.control.recv(1) == b""
        engine.channel.close()
        assert keeper.wait() == 0

    play(scenario)


def test_a_resting_engine_is_woken_by_the_next_client(play: Play) -> None:
    async def scenario(keeper: KeeperProcess) -> None:
        first = keeper.next_engine()
        reader, writer = os.pipe()
        first.client.hold("key", [writer])
        os.close(writer)
        first.client.rest()
        first.end()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(keeper.socket_path)
            second = keeper.next_engine()
            assert second.client.keys() == ["key"]
            assert await run_sh(second, "exit 4") == 4
            second.client.rest()
            assert await run_sh(second, "exit 0") == 0
            second.end()
            keeper.next_engine()  # the client is still in the backlog
        os.close(reader)

    play(scenario)


def test_nothing_of_the_keepers_reaches_a_process(play: Play) -> None:
    """A container that held the lock, the listener or the channel would keep them for ever."""

    async def scenario(keeper: KeeperProcess) -> None:
        engine = keeper.next_engine()
        reader, writer = os.pipe()
        engine.client.hold("key", [reader])
        assert await run_sh(engine, "ls -l /proc/self/fd", {0: reader, 1: writer, 2: writer}) == 0
        listed = os.read(reader, 4096).splitlines()
        numbers = [line.split(b" -> ")[0].split()[-1] for line in listed if b" -> " in line]
        assert numbers == [b"0", b"1", b"2", b"3"] and b"/proc/" in listed[-1]
        os.close(reader)
        os.close(writer)

    play(scenario)
