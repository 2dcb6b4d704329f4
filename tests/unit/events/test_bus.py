"""Who subscribes gets the past that was asked for, then the present, once and in order."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import pytest

from guest_agent.events import bus as bus_module
from guest_agent.events.bus import EventBus
from guest_agent.wire.models import Event


class Clock:
    """Each look at it is one second later, unless it is set."""

    def __init__(self) -> None:
        self._ticks: Iterator[int] = itertools.count(1)
        self.stopped_at: int | None = None

    def time_ns(self) -> int:
        return self.stopped_at if self.stopped_at is not None else next(self._ticks) * 10**9


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(bus_module, "time", clock)
    return clock


def publish(bus: EventBus, *names: str) -> None:
    for name in names:
        bus.publish("container", name, "id", {"name": "box"})


async def collect(bus: EventBus, since_ns: int, until_ns: int) -> list[str]:
    return [event.action async for event in bus.subscribe(since_ns, until_ns)]


def test_an_event_is_complete(clock: Clock) -> None:
    bus, labels = EventBus(), {"a": "b"}
    bus.publish("container", "start", "id", labels)
    labels["a"] = "changed afterwards"
    [event] = bus._past
    assert event == Event("container", "start", "id", {"a": "b"}, 10**9)


def test_replay_between_two_times(clock: Clock) -> None:
    bus = EventBus()
    publish(bus, *"abcde")
    assert asyncio.run(collect(bus, 2 * 10**9, 4 * 10**9)) == ["b", "c", "d"]


def test_without_since_the_past_is_told_only_up_to_an_until(clock: Clock) -> None:
    async def present(bus: EventBus) -> list[str]:
        task = await subscribed(bus)
        publish(bus, *"cde")
        return await task

    bus = EventBus()
    publish(bus, "a", "b")
    assert asyncio.run(collect(bus, 0, 2 * 10**9)) == ["a", "b"]
    assert asyncio.run(present(bus)) == ["c", "d", "e"]


def test_listeners_are_told_at_once() -> None:
    bus, told = EventBus(), list[str]()
    bus.listen(lambda event: told.append(event.action))
    publish(bus, "a", "b")
    assert told == ["a", "b"]


def test_the_past_has_256_events_as_dockerd_has(clock: Clock) -> None:
    bus = EventBus()
    publish(bus, *(str(number) for number in range(300)))
    assert asyncio.run(collect(bus, 1, 300 * 10**9)) == [str(number) for number in range(44, 300)]


async def subscribed(bus: EventBus, since_ns: int = 0, until_ns: int = 0) -> asyncio.Task[list[str]]:
    """A subscriber that waits for live events already; it takes three."""

    async def take() -> list[str]:
        events = bus.subscribe(since_ns, until_ns)
        return [(await anext(events)).action for _ in range(3)]

    task = asyncio.ensure_future(take())
    await asyncio.sleep(0)
    return task


def test_past_and_present_without_a_gap_or_a_double(clock: Clock) -> None:
    async def scenario() -> list[str]:
        bus = EventBus()
        publish(bus, "past")
        task = await subscribed(bus, since_ns=1)
        publish(bus, "one", "two")
        return await task

    assert asyncio.run(scenario()) == ["past", "one", "two"]


def test_every_subscriber_gets_every_event() -> None:
    async def scenario() -> list[list[str]]:
        bus = EventBus()
        tasks = [await subscribed(bus) for _ in range(3)]
        publish(bus, "a", "b", "c")
        return await asyncio.gather(*tasks)

    assert asyncio.run(scenario()) == [["a", "b", "c"]] * 3


def test_a_stalled_subscriber_loses_the_oldest_and_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "_QUEUE_LIMIT", 3)

    async def scenario() -> list[str]:
        bus = EventBus()
        stalled = await subscribed(bus)
        publish(bus, *"abcdefg")
        return await stalled

    assert asyncio.run(scenario()) == ["e", "f", "g"]


def test_what_came_in_time_is_told_though_the_subscriber_is_late(clock: Clock) -> None:
    """A client that reads slowly asks for more when `until` has passed; what came before it is still due."""

    async def scenario() -> list[str]:
        bus = EventBus()
        clock.stopped_at = 1
        publish(bus, "past")
        events = bus.subscribe(1, 10)
        told = [(await anext(events)).action]
        for time_ns, name in ((9, "in time"), (10, "just in time"), (11, "late")):
            clock.stopped_at = time_ns
            publish(bus, name)
        return told + [event.action async for event in events]

    assert asyncio.run(scenario()) == ["past", "in time", "just in time"]


def test_who_leaves_is_forgotten() -> None:
    async def scenario() -> int:
        bus = EventBus()
        task = await subscribed(bus)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        publish(bus, "nobody hears it")
        return len(bus._subscribers)

    assert asyncio.run(scenario()) == 0
