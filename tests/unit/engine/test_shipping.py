"""What a log driver's destination is sent, and from where an engine that starts again goes on."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from guest_agent.engine.output import STDERR, STDOUT, Limits, OutputLog, Position
from guest_agent.engine.shipping import Progress, open_destination, plan_journal_fields, ship
from guest_agent.logs.messages import Message
from guest_agent.wire.errors import HostFailed
from guest_agent.wire.models import ContainerConfig, HostConfig
from tests.unit.engine.records import container


class Recorder:
    """A destination that keeps what it is sent; the first `failures` messages are lost."""

    def __init__(self, failures: int = 0) -> None:
        self.messages: list[tuple[bool, bytes]] = []
        self._failures = failures

    async def send(self, message: Message) -> None:
        if self._failures:
            self._failures -= 1
            raise ConnectionResetError
        self.messages.append((message.is_error, message.data))

    def close(self) -> None:
        pass


def ship_all(log: OutputLog, recorder: Recorder, progress: Progress) -> list[tuple[bool, bytes]]:
    async def run() -> None:
        ended = asyncio.Event()
        ended.set()
        await ship(log, ended, recorder, progress, blocking=True)

    asyncio.run(run())
    return recorder.messages


def test_from_where_the_last_one_stopped(tmp_path: Path) -> None:
    log, progress = OutputLog(str(tmp_path / "logs")), Progress(str(tmp_path / "shipped"))
    (tmp_path / "logs").mkdir()
    log.append(b"one\ntwo\n", STDOUT)
    log.append(b"oops", STDERR)
    assert ship_all(log, Recorder(), progress) == [(False, b"one"), (False, b"two"), (True, b"oops")]
    log.append(b"three\n", STDOUT)
    assert ship_all(log, Recorder(), Progress(str(tmp_path / "shipped"))) == [(False, b"three")]
    assert progress.load() == Position(3, 14, 4)
    log.close()


def test_a_message_that_is_lost_stops_nothing(tmp_path: Path) -> None:
    log = OutputLog(str(tmp_path), Limits(1000, 2))
    log.append(b"one\ntwo\n", STDOUT)
    assert ship_all(log, Recorder(failures=1), Progress(str(tmp_path / "no" / "folder"))) == [(False, b"two")]
    log.close()


def test_what_the_journal_is_told_of_a_container() -> None:
    options = {"labels": "tier", "env": "_MODE", "tag": "{{.Name}}"}
    config = ContainerConfig(labels={"tier": "db"}, environment=("_MODE=x",))
    one = dataclasses.replace(container(), config=config, host_config=HostConfig(log_options=options))
    assert plan_journal_fields(one) == {
        "CONTAINER_ID": one.short_id,
        "CONTAINER_ID_FULL": one.id,
        "CONTAINER_NAME": "box",
        "CONTAINER_TAG": "box",
        "IMAGE_NAME": "busybox",
        "SYSLOG_IDENTIFIER": "box",
        "TIER": "db",
        "MODE": "x",
    }
    assert plan_journal_fields(container())["CONTAINER_TAG"] == one.short_id


def test_no_destination() -> None:
    assert asyncio.run(open_destination(container())) is None
    options = {"syslog-address": "tcp://127.0.0.1:1"}
    one = dataclasses.replace(container(), host_config=HostConfig(log_driver="syslog", log_options=options))
    with pytest.raises(HostFailed, match=r"failed to initialize logging driver: dial tcp 127\.0\.0\.1:1"):
        asyncio.run(open_destination(one))
