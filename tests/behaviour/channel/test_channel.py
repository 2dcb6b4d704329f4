"""The agent as a process and the host's channel, over a socket that stands for the port."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from guest_agent.wire import datagrams
from guest_agent.wire.channel_frames import DATA, HEADER, MARK
from guest_agent.wire.errors import CommandNotFound, HostvmError, Unavailable, Unsupported
from hostvm.supervisor.streams import Stream
from tests.behaviour.channel.stage import DEADLINE, Stage, open_stage


def staged(folder: Path, play: Callable[[Stage], Awaitable[None]]) -> None:
    async def run() -> None:
        async with open_stage(folder) as stage:
            await play(stage)

    asyncio.run(run())


async def read_all(stream: Stream) -> bytes:
    pieces = []
    while piece := await stream.read():
        pieces.append(piece)
    return b"".join(pieces)


async def exchange(stage: Stage, data: bytes) -> bytes:
    async with await stage.channel.open({"to": "echo"}) as stream:
        stream.write(data)
        stream.write_eof()
        return await read_all(stream)


def test_echo(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        assert await exchange(stage, b"hello") == b"hello"
        big = os.urandom(3_000_000)
        assert await exchange(stage, big) == big

    staged(tmp_path, play)


def test_three_hundred_streams_at_once(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        sent = [os.urandom(20_000 + number) for number in range(300)]
        assert await asyncio.gather(*(exchange(stage, data) for data in sent)) == sent

    staged(tmp_path, play)


def test_a_stalled_stream_stalls_nobody(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        stalled = [await stage.channel.open({"to": "source"}) for _ in range(5)]
        jammed = await stage.channel.open({"to": "command", "argv": ["sleep", "60"]})
        jammed.write(bytes(5_000_000))
        for _ in range(5):
            assert await asyncio.wait_for(exchange(stage, b"x" * 500_000), DEADLINE) == b"x" * 500_000
        for stream in stalled:
            assert await stream.read()

    staged(tmp_path, play)


def test_an_unknown_service_is_refused(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        with pytest.raises(Unsupported, match="no service 'nonsense'"):
            await stage.channel.open({"to": "nonsense"})
        assert await exchange(stage, b"on") == b"on"

    staged(tmp_path, play)


# -- commands


async def outcome_of(stage: Stage, *argv: str, given: bytes = b"") -> tuple[bytes, dict[str, object]]:
    stream = await stage.channel.open({"to": "command", "argv": list(argv), "env": {"WORD": "said"}})
    stream.write(given)
    stream.write_eof()
    return await read_all(stream), stream.message


def test_a_commands_output_and_status(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        script = 'cat; echo "$WORD"; echo woe >&2; exit 3'
        assert await outcome_of(stage, "sh", "-c", script, given=b"in ") == (b"in said\nwoe\n", {"exit": 3})
        assert await outcome_of(stage, "sh", "-c", "kill -9 $$") == (b"", {"exit": 137})
        assert await outcome_of(stage, "head", "-c", "1000000", "/dev/zero") == (bytes(1_000_000), {"exit": 0})
        # Somebody else who holds the pipe isn't waited for; nobody who closed it early is forgotten.
        assert await outcome_of(stage, "sh", "-c", "sleep 60 & echo done") == (b"done\n", {"exit": 0})
        assert await outcome_of(stage, "sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 4") == (b"", {"exit": 4})

    staged(tmp_path, play)


def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        with pytest.raises(CommandNotFound):
            await stage.channel.open({"to": "command", "argv": ["/no/such/thing"]})

    staged(tmp_path, play)


def test_a_command_ends_with_its_stream(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        stream = await stage.channel.open({"to": "command", "argv": ["sh", "-c", "echo $$; sleep 60"]})
        pid = int(await stream.readline())
        stream.reset()
        await wait_gone(pid)

    staged(tmp_path, play)


# -- connections


async def wait_gone(pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with open(pidfd, "rb", buffering=0) as ended:
        loop, gone = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(ended, gone.set)
        await asyncio.wait_for(gone.wait(), DEADLINE)
        loop.remove_reader(ended)


async def answer_in_capitals(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers when the asker has ended: half-close goes through, in both directions."""
    writer.write((await reader.read()).upper())
    writer.close()


@pytest.mark.parametrize("kind", ["engine", "unix", "tcp"])
def test_a_relayed_connection_with_half_close(tmp_path: Path, kind: str) -> None:
    async def play(stage: Stage) -> None:
        if kind == "tcp":
            server = await asyncio.start_server(answer_in_capitals, "127.0.0.1", 0)
            request = {"to": "tcp", "address": "127.0.0.1", "port": server.sockets[0].getsockname()[1]}
        else:
            server = await asyncio.start_unix_server(answer_in_capitals, stage.engine_socket)
            request = {"to": "engine"} if kind == "engine" else {"to": "unix", "path": stage.engine_socket}
        ours, theirs = socket.socketpair()
        relayed = asyncio.create_task(stage.channel.forward(request, theirs))
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.write(b"question " * 100_000)
        writer.write_eof()
        assert await reader.read() == b"QUESTION " * 100_000
        assert await asyncio.wait_for(relayed, DEADLINE) == {}
        writer.close()
        server.close()

    staged(tmp_path, play)


def test_a_client_that_went_away_is_gone_for_the_engine_too(tmp_path: Path) -> None:
    """A build whose step prints nothing ran on: nothing was written that could fail, and nobody listened any more."""

    async def play(stage: Stage) -> None:
        heard, gone = asyncio.Event(), asyncio.Event()

        async def answer_in_silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.read() == b"question"
            heard.set()
            assert await asyncio.to_thread(wait_hung_up, writer.get_extra_info("socket").fileno())
            writer.close()
            gone.set()

        server = await asyncio.start_unix_server(answer_in_silence, stage.engine_socket)
        ours, theirs = socket.socketpair()
        relayed = asyncio.create_task(stage.channel.forward({"to": "engine"}, theirs))
        ours.sendall(b"question")
        ours.close()
        await asyncio.wait_for(heard.wait(), DEADLINE)
        await asyncio.wait_for(gone.wait(), DEADLINE)
        with pytest.raises(Unavailable):
            await asyncio.wait_for(relayed, DEADLINE)
        server.close()

    staged(tmp_path, play)


def wait_hung_up(descriptor: int) -> bool:
    """False when its peer still listens after the deadline."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return bool(poll.poll(DEADLINE * 1000))


def test_a_connection_that_is_refused(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        with pytest.raises(Unavailable, match="ECONNREFUSED"):
            await stage.channel.open({"to": "tcp", "address": "127.0.0.1", "port": port})
        ours, theirs = socket.socketpair()
        with pytest.raises(Unavailable, match="ENOENT"):
            await stage.channel.forward({"to": "engine"}, theirs)
        assert ours.recv(1) == b""

    staged(tmp_path, play)


def test_relay_goes_on_where_reading_stopped(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        stream = await stage.channel.open({"to": "command", "argv": ["cat"]})
        stream.write(b"line\nrest " + b"x" * 200_000)
        assert await stream.readline() == b"line\n"
        ours, theirs = socket.socketpair()
        relayed = asyncio.create_task(stage.channel.relay(stream, theirs))
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.write(b" end")
        writer.write_eof()
        assert await reader.read() == b"rest " + b"x" * 200_000 + b" end"
        assert await asyncio.wait_for(relayed, DEADLINE) == {"exit": 0}
        writer.close()

    staged(tmp_path, play)


def test_a_reset_connection_is_a_reset_stream(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        gone = asyncio.Event()

        async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(4)
            writer.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
            )
            writer.transport.abort()
            gone.set()

        server = await asyncio.start_server(reset, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        stream = await stage.channel.open({"to": "tcp", "address": "127.0.0.1", "port": port})
        stream.write(b"1234")
        with pytest.raises(Unavailable):
            await asyncio.wait_for(stream.read(), DEADLINE)
        server.close()

    staged(tmp_path, play)


def test_udp(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            server.setblocking(False)
            loop = asyncio.get_running_loop()
            port = server.getsockname()[1]
            stream = await stage.channel.open({"to": "udp", "address": "127.0.0.1", "port": port})
            decoder = datagrams.Decoder()
            for sent in (b"", b"one", os.urandom(60_000)):
                stream.write(datagrams.encode(sent))
                came, sender = await loop.sock_recvfrom(server, 65536)
                assert came == sent
                await loop.sock_sendto(server, b"re: " + sent, sender)
                answers: list[bytes] = []
                while not answers:
                    answers = decoder.feed(await asyncio.wait_for(stream.read(), DEADLINE))
                assert answers == [b"re: " + sent]
            stream.close()

    staged(tmp_path, play)


# -- from the guest, and init


def test_a_program_in_the_guest_reaches_a_service_of_the_host(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        async def repeat(request: dict[str, object], stream: Stream) -> None:
            stream.write(json.dumps(request).encode() + await stream.readline())

        async def refuse(_request: dict[str, object], _stream: Stream) -> None:
            raise HostvmError("not today")

        stage.channel.services |= {"ports": repeat, "never": refuse}
        assert await ask(stage, b'{"to":"ports","x":1}\nbind\nmore\n') == b'{"to": "ports", "x": 1}bind\n'
        assert await ask(stage, b'{"to":"never"}\n') == b""
        refusal = json.loads(await ask(stage, b'{"to":"files"}\n'))
        assert refusal["error"]["kind"] == "unsupported"
        assert json.loads(await ask(stage, b"nonsense\n"))["error"]["kind"] == "invalid-argument"

    staged(tmp_path, play)


async def ask(stage: Stage, sent: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(stage.host_socket)
    writer.write(sent)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), DEADLINE)
    writer.close()
    return answer


def test_init_hears_one_control_stream_at_a_time(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        stage.init.setblocking(False)
        loop = asyncio.get_running_loop()
        old = await stage.channel.open({"to": "control"})
        old.write(b'{"id":1')
        assert await loop.sock_recv(stage.init, 100) == b"\n"
        assert await loop.sock_recv(stage.init, 100) == b'{"id":1'
        new = await stage.channel.open({"to": "control"})
        with pytest.raises(HostvmError):
            await old.read()
        new.write(b'{"id":2}\n')
        assert await loop.sock_recv(stage.init, 100) == b"\n"
        assert await loop.sock_recv(stage.init, 100) == b'{"id":2}\n'
        stage.init.send(b'{"event":"warm"}\n')
        assert await new.readline() == b'{"event":"warm"}\n'

    staged(tmp_path, play)


# -- ends that die


def test_the_agent_dies_and_another_takes_its_place(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        streams = [await stage.channel.open({"to": "source"}) for _ in range(3)]
        await streams[0].read()
        stage.kill_agent()
        stage.start_agent()
        await stage.wait_lives(2)
        for stream in streams:
            with pytest.raises(Unavailable):
                while True:
                    assert await stream.read()
        assert await exchange(stage, b"again") == b"again"
        assert stage.channel.violations <= 1, "a frame that the dead one had begun"

    staged(tmp_path, play)


def test_the_host_dies_and_another_takes_its_place(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        busy = await stage.channel.open({"to": "command", "argv": ["sh", "-c", "echo $$; exec cat /dev/zero"]})
        pid = int(await busy.readline())
        await stage.stop_host()
        stage.start_host()
        await stage.channel.wait_up(DEADLINE)
        assert await exchange(stage, b"again") == b"again"
        await wait_gone(pid)

    staged(tmp_path, play)


def test_the_wire_is_cut_in_the_middle_of_frames(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        for life in range(2, 6):
            stream = await stage.channel.open({"to": "sink"})
            stream.write(os.urandom(1_000_000))
            await asyncio.sleep(0.002 * life)
            stage.chardev.cut()
            await stage.wait_lives(life)
            assert await exchange(stage, b"again" * 10_000) == b"again" * 10_000

    staged(tmp_path, play)


def test_garbage_from_the_guest_costs_its_streams_and_nothing_else(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        for life, garbage in enumerate([os.urandom(5000), b"\xff", HEADER.pack(DATA, 77, 1) + bytes((0, MARK))], 2):
            await stage.chardev.inject(garbage + bytes(100_000 if len(garbage) == 1 else 0))
            await stage.wait_lives(life)
            assert await exchange(stage, b"fine") == b"fine"
        assert stage.channel.violations >= 3

    staged(tmp_path, play)


def test_freezing_and_thawing(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        source = await stage.channel.open({"to": "source"})
        await stage.channel.freeze(DEADLINE)
        with pytest.raises(Unavailable):
            await stage.channel.open({"to": "echo"})
        with pytest.raises(Unavailable):
            while True:
                await source.read()
        stage.channel.thaw()
        await stage.wait_lives(2)
        assert await exchange(stage, b"thawed") == b"thawed"

    staged(tmp_path, play)


def test_an_agent_that_does_not_answer_is_not_frozen(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        os.kill(stage.agent.pid, signal.SIGSTOP)
        with pytest.raises(Unavailable):
            await stage.channel.freeze(0.2)
        os.kill(stage.agent.pid, signal.SIGCONT)
        await stage.wait_lives(2)
        assert await exchange(stage, b"well") == b"well"

    staged(tmp_path, play)
