"""The engine's end of the channel, against a peer that the test plays."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from guest_agent.keeper import protocol
from guest_agent.keeper.client import KeeperClient
from guest_agent.wire.errors import HostFailed

Scenario = Callable[[KeeperClient, "Peer"], Awaitable[None]]


class Peer:
    """The keeper, as the test plays it."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self._decoder = protocol.Decoder()
        self._messages: list[tuple[protocol.Message, list[int]]] = []

    def tell(self, message: protocol.Message, fds: tuple[int, ...] = ()) -> None:
        protocol.send(self.channel, message, fds)

    def tell_at_once(self, *messages: protocol.Message) -> None:
        """All in one segment of the stream."""
        self.channel.sendall(b"".join(protocol.encode(message) for message in messages))

    async def next(self) -> tuple[protocol.Message, list[int]]:
        """What the client said next; lets the client's loop run meanwhile."""
        self.channel.setblocking(False)
        while not self._messages:
            try:
                self._messages += self._decoder.feed(*protocol.receive(self.channel))
            except BlockingIOError:
                await asyncio.sleep(0)
        return self._messages.pop(0)


def play(scenario: Scenario, journal: str = "/nonexistent/journal") -> None:
    """A client that has its inventory (nothing) and listens."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            peer, client = Peer(theirs), KeeperClient(ours, journal)
            peer.tell({"welcome": True})
            client.receive_inventory()
            client.attach(asyncio.get_running_loop())
            async with asyncio.timeout(20):
                await scenario(client, peer)

    asyncio.run(main())


def exit_of(pid: int, status: int, ticks: int = 7) -> protocol.Message:
    return {"exit": pid, "ticks": ticks, "status": status}


def test_the_inventory_is_what_a_predecessor_held() -> None:
    ours, theirs = socket.socketpair()
    reader, writer = os.pipe()
    with ours, theirs:
        peer, client = Peer(theirs), KeeperClient(ours, "unused")
        peer.tell({"held": "stdio:a", "note": "n"}, (writer, writer))
        peer.tell({"held": "ports:a", "note": ""})
        peer.tell({"welcome": True})
        client.receive_inventory()
        assert client.keys() == ["ports:a", "stdio:a"]
        fds, note = client.get("stdio:a")
        assert (len(fds), note) == (2, "n")
        assert client.get("stdio:a") == ([], "") == client.get("never was")
        os.write(fds[1], b"alive")
        assert os.read(reader, 10) == b"alive"
    for fd in (reader, writer, *fds):
        os.close(fd)


def test_a_keeper_that_goes_away_during_the_inventory() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours, pytest.raises(HostFailed, match="keeper"):
        KeeperClient(ours, "unused").receive_inventory()


def test_an_exit_in_one_segment_with_the_welcome_is_not_lost() -> None:
    """An engine needs 200 ms for its imports: a container may end meanwhile, and all of it is read at once."""

    async def main() -> int:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            peer, client = Peer(theirs), KeeperClient(ours, "unused")
            peer.tell_at_once(exit_of(5, 1), {"welcome": True}, exit_of(6, 256))
            client.receive_inventory()
            client.attach(asyncio.get_running_loop())
            async with asyncio.timeout(20):
                return await client.wait(5) * 1000 + await client.wait(6)

    assert asyncio.run(main()) == 1256


def test_spawn_is_answered_by_number() -> None:
    async def scenario(client: KeeperClient, peer: Peer) -> None:
        first = asyncio.ensure_future(client.spawn(["/bin/true"], {0: peer.channel.fileno()}, {"A": "b"}))
        second = asyncio.ensure_future(client.spawn(["/bin/false"], {}))
        (one, fds), (two, no_fds) = await peer.next(), await peer.next()
        assert (one["argv"], one["targets"], one["env"], len(fds)) == (["/bin/true"], [0], {"A": "b"}, 1)
        assert (two["argv"], two["targets"], two["env"], no_fds) == (["/bin/false"], [], None, [])
        os.close(fds[0])
        peer.tell({"id": two["id"], "error": 2})
        peer.tell({"id": one["id"], "pid": 10, "ticks": 99})
        assert await first == (10, 99)
        with pytest.raises(HostFailed, match="No such file"):
            await second

    play(scenario)


def test_an_answer_for_one_who_has_gone_disturbs_nobody() -> None:
    async def scenario(client: KeeperClient, peer: Peer) -> None:
        gone = asyncio.ensure_future(client.spawn(["/bin/true"], {}))
        message, _fds = await peer.next()
        gone.cancel()
        peer.tell({"id": message["id"], "pid": 10, "ticks": 99})
        peer.tell(exit_of(11, 3))
        assert await client.wait(11) == 3

    play(scenario)


def test_an_exit_before_and_after_somebody_waits() -> None:
    async def scenario(client: KeeperClient, peer: Peer) -> None:
        waiting = [asyncio.ensure_future(client.wait(5)) for _ in range(2)]
        peer.tell_at_once(exit_of(4, 1), exit_of(5, 2))
        assert await asyncio.gather(*waiting) == [2, 2]
        assert await client.wait(4) == 1

    play(scenario)


def test_one_waiter_that_gives_up_leaves_the_other_waiting() -> None:
    async def scenario(client: KeeperClient, peer: Peer) -> None:
        impatient, patient = (asyncio.ensure_future(client.wait(5)) for _ in range(2))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.sleep(0)
        peer.tell(exit_of(5, 9))
        assert await patient == 9

    play(scenario)


def test_a_pid_that_is_used_again_is_another_process() -> None:
    """Nobody asked for the first one's end; the second one still runs."""

    async def scenario(client: KeeperClient, peer: Peer) -> None:
        peer.tell(exit_of(5, 1, ticks=100))
        peer.tell(exit_of(6, 0))
        await client.wait(6)
        spawning = asyncio.ensure_future(client.spawn(["/bin/true"], {}))
        message, _fds = await peer.next()
        peer.tell({"id": message["id"], "pid": 5, "ticks": 200})
        await spawning
        waiting = asyncio.ensure_future(client.wait(5))
        peer.tell(exit_of(5, 2, ticks=200))
        assert await waiting == 2

    play(scenario)


def test_a_descriptor_may_be_closed_right_after_it_was_given_to_the_keeper() -> None:
    async def scenario(client: KeeperClient, peer: Peer) -> None:
        reader, writer = os.pipe()
        client.hold("key", [writer], "note")
        os.close(writer)
        message, fds = await peer.next()
        assert (message["op"], message["key"], message["note"]) == ("hold", "key", "note")
        os.write(fds[0], b"alive")
        assert os.read(reader, 10) == b"alive"
        for fd in (reader, *fds):
            os.close(fd)

    play(scenario)


def test_a_key_is_dropped_once() -> None:
    async def scenario(client: KeeperClient, peer: Peer) -> None:
        client.hold("key", [peer.channel.fileno()])
        assert client.keys() == ["key"]
        for _ in range(2):
            client.drop("key")
        client.drop("never was")
        client.rest()
        assert client.keys() == []
        said = [await peer.next() for _ in range(3)]
        assert [message["op"] for message, _fds in said] == ["hold", "drop", "rest"]
        os.close(said[0][1][0])

    play(scenario)


def test_a_full_queue_keeps_the_order_and_the_descriptors() -> None:
    """The peer doesn't read: messages wait with copies of their descriptors, and nothing blocks."""

    async def scenario(client: KeeperClient, peer: Peer) -> None:
        reader, writer = os.pipe()
        for number in range(300):
            client.hold(f"key{number}", [writer] if number % 50 == 0 else [], "x" * 5000)
        os.close(writer)
        client.quit()
        for number in range(300):
            message, fds = await peer.next()
            assert message["key"] == f"key{number}" and len(fds) == (number % 50 == 0)
            for fd in fds:
                os.close(fd)
        assert (await peer.next())[0]["op"] == "quit"
        assert os.read(reader, 1) == b""
        os.close(reader)

    play(scenario)


def test_a_lost_keeper_is_noticed() -> None:
    async def scenario(client: KeeperClient, peer: Peer) -> None:
        peer.channel.close()
        await client.lost.wait()
        client.quit()

    play(scenario)


def test_the_journal_tells_of_both_generations_and_skips_what_is_cut_off(tmp_path: Path) -> None:
    journal = tmp_path / "exits"
    (tmp_path / "exits.old").write_text("1 10 0\n2 20 256\n")
    journal.write_text("3 30 9\n1 40 15\n4 5")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        exits = KeeperClient(ours, str(journal)).past_exits()
    assert exits == {(1, 10): 0, (2, 20): 256, (3, 30): 9, (1, 40): 15}


def test_no_journal_is_no_exits(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert KeeperClient(ours, str(tmp_path / "none")).past_exits() == {}


def test_unclaimed_exits_are_not_kept_for_ever() -> None:
    async def scenario(client: KeeperClient, peer: Peer) -> None:
        peer.tell_at_once(*(exit_of(pid, 0) for pid in range(1, 3001)))
        peer.tell(exit_of(9999, 1))
        await client.wait(9999)
        assert len(client._exits) <= 1024
        assert await client.wait(3000) == 0

    play(scenario)
