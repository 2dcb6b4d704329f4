"""A service comes back: at once the first time, later and later when it keeps dying."""

from __future__ import annotations

import itertools

import pytest

from guest_agent.boot import services


def test_a_dying_service_is_started_again_with_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("guest_agent.boot.services.time.monotonic", lambda: now[0])
    pids = itertools.count(1)
    service = services.Service("agent", lambda: next(pids))
    pauses = []
    for _round in range(10):
        wait = service.start_if_due() or 0.0
        pauses.append(round(wait, 3))
        now[0] += wait
        assert service.start_if_due() is None
        assert service.pid
        service.ended()
    assert pauses == [0.0, 0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_service_that_lived_long_comes_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("guest_agent.boot.services.time.monotonic", lambda: now[0])
    service = services.Service("agent", lambda: 7)
    for _round in range(5):
        now[0] += 60
        assert service.start_if_due() is None
        now[0] += 60
        service.ended()
    assert service.start_if_due() is None
