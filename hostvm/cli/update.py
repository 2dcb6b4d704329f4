"""`update`: new limits and restart policy."""

from guest_agent.wire.errors import HostvmError
from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure, refused
from hostvm.cli.output import write_error, write_out
from hostvm.cli.query import escape
from hostvm.cli.request.create import parse_restart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context

#: Flag -> key of the body.
_KEYS = (
    ("blkio-weight", "BlkioWeight"), ("cpu-period", "CpuPeriod"), ("cpu-quota", "CpuQuota"), ("cpus", "NanoCpus"),
    ("cpu-rt-period", "CpuRealtimePeriod"), ("cpu-rt-runtime", "CpuRealtimeRuntime"), ("cpu-shares", "CpuShares"),
    ("cpuset-cpus", "CpusetCpus"), ("cpuset-mems", "CpusetMems"), ("kernel-memory", "KernelMemory"),
    ("memory", "Memory"), ("memory-reservation", "MemoryReservation"), ("memory-swap", "MemorySwap"),
)  # fmt: skip


def plan_update(arguments: Arguments) -> dict[str, object]:
    """The body of the request. Raises ValueError with docker's message."""
    body = {key: arguments.value(flag) for flag, key in _KEYS if arguments.given(flag)}
    if arguments.number("pids-limit"):
        body["PidsLimit"] = arguments.number("pids-limit")
    if arguments.text("restart"):
        body["RestartPolicy"] = parse_restart(arguments.text("restart"))
    return body


def update(context: "Context", arguments: Arguments) -> int:
    if not any(arguments.given(flag.name) for flag in arguments.command.flags):
        raise Failure("you must provide one or more flags when using this command")
    try:
        body = plan_update(arguments)
    except ValueError as error:
        raise Failure(str(error)) from error
    warnings: list[str] = []
    refusals: list[str] = []
    for name in arguments.positional:
        try:
            answer = context.engine.call("POST", f"/containers/{escape(name)}/update", body)
        except HostvmError as error:
            refusals.append(refused(error).text)
            continue
        write_out(f"{name}\n")
        found = answer.get("Warnings") if isinstance(answer, dict) else None
        warnings += map(str, found) if isinstance(found, list) else []
    write_out("".join(f"{warning}\n" for warning in warnings))
    write_error("".join(f"{refusal}\n" for refusal in refusals))
    return 1 if refusals else 0
