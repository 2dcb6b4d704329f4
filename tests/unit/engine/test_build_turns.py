"""Steps that several builds have in common are made one after the other, others at the same time."""

from __future__ import annotations

import asyncio

from guest_agent.engine.build_turns import Turns


def test_a_turn_is_alone_with_its_key() -> None:
    order: list[str] = []

    async def scenario() -> None:
        turns, go_on, other = Turns(), asyncio.Event(), asyncio.Event()

        async def step(name: str, key: str) -> None:
            async with turns.take(key):
                order.append(name)
                if key == "b":
                    other.set()
                await go_on.wait()
                order.append(f"{name} done")

        tasks = [asyncio.create_task(step(*one)) for one in (("first", "a"), ("second", "a"), ("other", "b"))]
        await other.wait()
        assert order == ["first", "other"]
        tasks[2].cancel()
        go_on.set()
        await asyncio.wait(tasks)
        assert order[2:] == ["first done", "second", "second done"]

    asyncio.run(scenario())
