"""Health checks, the rules: what is asked, when, and what an answer means (moby, daemon/health.go). Pure."""

from __future__ import annotations

import dataclasses

from guest_agent.engine.container import Container, Health, HealthStatus, ProbeResult
from guest_agent.wire.models import ContainerConfig, Healthcheck
from guest_agent.wire.times import go_duration

_SECOND = 10**9
_INTERVAL, _START_INTERVAL, _TIMEOUT, _RETRIES = 30 * _SECOND, 5 * _SECOND, 30 * _SECOND, 3

#: Bytes of a probe's output, and probes, that are remembered.
OUTPUT_LIMIT = 4096
_LOG_LIMIT = 5

_DEFAULT_SHELL = ("/bin/sh", "-c")


def merge_healthcheck(wanted: Healthcheck | None, image: Healthcheck | None) -> Healthcheck | None:
    """What the user said, field by field completed by the image's."""
    if wanted is None or image is None:
        return wanted or image
    missing = {
        field.name: getattr(image, field.name)
        for field in dataclasses.fields(Healthcheck)
        if not getattr(wanted, field.name)
    }
    return dataclasses.replace(wanted, **missing)


def probe_argv(config: ContainerConfig) -> tuple[str, ...]:
    """The command of a probe; () where there is nothing to probe (no check, NONE, or an unknown kind of it)."""
    kind, *words = config.healthcheck.test if config.healthcheck and config.healthcheck.test else ("NONE",)
    if kind == "CMD":
        return tuple(words)
    if kind == "CMD-SHELL":
        return (*(config.shell or _DEFAULT_SHELL), *words)
    return ()


def health_at_start(container: Container) -> Health | None:
    """A start begins anew; the log of earlier probes stays readable."""
    if not probe_argv(container.config):
        return None
    before = container.state.health
    return Health(log=before.log if before else ())


def health_without_probes(health: Health | None) -> Health | None:
    """Paused, or ended: nobody knows, and docker calls that unhealthy."""
    return health and dataclasses.replace(health, status=HealthStatus.UNHEALTHY)


def pause_before_probe(container: Container, now_ns: int) -> float:
    """Seconds until the next probe."""
    check, health = container.config.healthcheck or Healthcheck(), container.state.health
    starting = health is not None and health.status is HealthStatus.STARTING
    if starting and now_ns - container.state.started_ns < check.start_period:
        return (check.start_interval or _START_INTERVAL) / _SECOND
    return (check.interval or _INTERVAL) / _SECOND


def probe_timeout_ns(check: Healthcheck | None) -> int:
    return check.timeout if check and check.timeout else _TIMEOUT


def health_after(container: Container, result: ProbeResult) -> Health:
    """Failures count from the end of the start period on, or from the first success."""
    health, check = container.state.health or Health(), container.config.healthcheck or Healthcheck()
    log = (*health.log, result)[-_LOG_LIMIT:]
    if result.exit_code == 0:
        return Health(HealthStatus.HEALTHY, 0, log)
    in_start_period = result.start_ns - container.state.started_ns < check.start_period
    if health.status is HealthStatus.STARTING and in_start_period:
        return dataclasses.replace(health, log=log)
    streak = health.failing_streak + 1
    status = HealthStatus.UNHEALTHY if streak >= (check.retries or _RETRIES) else health.status
    return Health(status, streak, log)


class ProbeOutput:
    """The beginning of what a probe prints."""

    def __init__(self) -> None:
        self._data = b""
        self._cut = False

    def add(self, data: bytes) -> None:
        room = OUTPUT_LIMIT - len(self._data)
        self._data += data[:room]
        self._cut = self._cut or len(data) > room

    def text(self) -> str:
        """An unreadable byte becomes U+FFFD, as in Go's JSON; "..." says that there was more."""
        return self._data.decode(errors="replace") + ("..." if self._cut else "")


def timeout_message(timeout_ns: int, output: str) -> str:
    message = f"Health check exceeded timeout ({go_duration(timeout_ns)})"
    return f"{message}: {output}" if output else message
