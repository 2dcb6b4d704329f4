"""What a name stands for: ENV, ARG, build arguments and the predefined ones, by Docker's rules of scope. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

#: Given by --build-arg they are in every RUN's environment. Unless an ARG declares them, they count neither for the
#: cache nor for the history (Dockerfile reference, "Predefined ARGs").
PROXIES = frozenset(
    spelling
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for spelling in (name, name.lower())
)


@dataclass(frozen=True, slots=True)
class Platforms:
    """ "linux/amd64"; `build` is this machine's, `target` what --platform asks for."""

    build: str
    target: str

    def arguments(self, target_stage: str = "default") -> dict[str, str]:
        """Predefined, in the scope before the first FROM; a stage sees them after an ARG."""
        return {
            **_named("BUILD", self.build),
            **_named("TARGET", self.target),
            "TARGETSTAGE": target_stage,
        }


def _named(prefix: str, platform: str) -> dict[str, str]:
    system, _, rest = platform.partition("/")
    architecture, _, variant = rest.partition("/")
    return {
        f"{prefix}PLATFORM": platform,
        f"{prefix}OS": system,
        f"{prefix}ARCH": architecture,
        f"{prefix}VARIANT": variant,
    }


@dataclass(frozen=True, slots=True)
class Arguments:
    """ARGs in one scope. `given` are the --build-arg; `outer` is what an ARG without a default takes."""

    given: Mapping[str, str]
    outer: Mapping[str, str]
    declared: Mapping[str, str | None] = field(default_factory=dict)

    def declare(self, name: str, default: str | None) -> Arguments:
        """What was given beats the default; an ARG without one takes the outer scope's."""
        value = self.given.get(name, default)
        if value is None:
            value = self.outer.get(name)
        return replace(self, declared={**self.declared, name: value})

    def find(self, name: str) -> str | None:
        return self.declared.get(name)

    def for_run(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Declared and with a value, unless ENV says something else: part of the step's identity."""
        return {
            name: value
            for name, value in sorted(self.declared.items())
            if value is not None and name not in environment
        }

    def proxies(self) -> dict[str, str]:
        """Part of a RUN's environment, and of nothing else where no ARG declares them."""
        return {name: value for name, value in sorted(self.given.items()) if name in PROXIES}


def environment_of(items: tuple[str, ...]) -> dict[str, str]:
    """`("A=b",)` as a dictionary."""
    return {name: value for name, _, value in (item.partition("=") for item in items)}
