"""The health flags of `run` and `create` -> `Healthcheck` of the body."""

from hostvm.cli.arguments import Arguments
from hostvm.cli.request.create import HEALTH_FLAGS

#: Flag -> key.
_NUMBERS = (
    ("health-interval", "Interval"), ("health-timeout", "Timeout"), ("health-start-period", "StartPeriod"),
    ("health-start-interval", "StartInterval"), ("health-retries", "Retries"),
)  # fmt: skip


def plan_healthcheck(arguments: Arguments) -> dict[str, object]:
    """Raises ValueError with docker's message."""
    if arguments.flag("no-healthcheck"):
        if any(arguments.value(flag) for flag in HEALTH_FLAGS):
            raise ValueError("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    check: dict[str, object] = {}
    if arguments.text("health-cmd"):
        check["Test"] = ["CMD-SHELL", arguments.text("health-cmd")]
    for flag, key in _NUMBERS:
        if arguments.number(flag) < 0:
            raise ValueError(f"--{flag} cannot be negative")
        if arguments.number(flag):
            check[key] = arguments.number(flag)
    return check
