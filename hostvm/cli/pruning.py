"""`prune`, of one noun or of everything, with docker's questions and totals."""

from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure
from hostvm.cli.output import write_out
from hostvm.cli.query import filter_pairs, with_query
from hostvm.cli.render.units import human_size
from hostvm.client.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hostvm.cli.main import Context

    Record = dict[str, object]
    #: What was removed as text ("" for nothing), and the bytes that it took.
    Outcome = tuple[str, int]

_QUESTION = "Are you sure you want to continue? [y/N] "


def containers(context: "Context", arguments: Arguments) -> int:
    if _agreed(arguments, "WARNING! This will remove all stopped containers.\n"):
        _tell(_containers(context, arguments))
    return 0


def images(context: "Context", arguments: Arguments) -> int:
    what = "images without at least one container associated to them" if arguments.flag("all") else "dangling images"
    if _agreed(arguments, f"WARNING! This will remove all {what}.\n"):
        _tell(_images(context, arguments))
    return 0


def networks(context: "Context", arguments: Arguments) -> int:
    if _agreed(arguments, "WARNING! This will remove all custom networks not used by at least one container.\n"):
        text, _ = _networks(context, arguments)
        write_out(f"{text}\n" if text else "")
    return 0


def volumes(context: "Context", arguments: Arguments) -> int:
    kind = "" if arguments.flag("all") else "anonymous "
    if _agreed(arguments, f"WARNING! This will remove {kind}local volumes not used by at least one container.\n"):
        _tell(_volumes(context, arguments, arguments.flag("all")))
    return 0


def build_cache(context: "Context", arguments: Arguments) -> int:
    which = "all" if arguments.flag("all") else "all dangling"
    if _agreed(arguments, f"WARNING! This will remove {which} build cache. "):
        _tell(_build_cache(context, arguments, arguments.number("keep-storage")))
    return 0


def system(context: "Context", arguments: Arguments) -> int:
    if arguments.flag("volumes") and any(key == "until" for key, _ in filter_pairs(arguments)):
        raise Failure('ERROR: The "until" filter is not supported with "--volumes"', 1)
    if not _agreed(arguments, plan_warning(arguments)):
        return 0
    steps = [_containers(context, arguments), _networks(context, arguments)]
    if arguments.flag("volumes"):
        steps.append(_volumes(context, arguments, False))
    steps.append(_images(context, arguments))
    steps.append(_build_cache(context, arguments))
    for text, _ in steps:
        write_out(f"{text}\n" if text else "")
    write_out(f"Total reclaimed space: {human_size(sum(space for _, space in steps), 4)}\n")
    return 0


def plan_warning(arguments: Arguments) -> str:
    """What `system prune` is about to do, before the question."""
    everything = arguments.flag("all")
    lines = ["all stopped containers", "all networks not used by at least one container"]
    lines += ["all anonymous volumes not used by at least one container"] if arguments.flag("volumes") else []
    lines.append(
        f"all {'images without at least one container associated to them' if everything else 'dangling images'}"
    )
    lines.append("all build cache" if everything else "unused build cache")
    text = "WARNING! This will remove:\n" + "".join(f"  - {line}\n" for line in lines) + "\n"
    pairs = [f"  - {key}={value}\n" for key, value in filter_pairs(arguments)]
    return text + ("  Items to be pruned will be filtered with:\n" + "".join(pairs) + "\n" if pairs else "")


def _agreed(arguments: Arguments, warning: str) -> bool:
    """Docker asks on stdout, and takes anything but a y for a no."""
    if arguments.flag("force"):
        return True
    import sys

    write_out(warning + _QUESTION)
    return sys.stdin.readline().strip().lower() == "y"


def _tell(outcome: "Outcome") -> None:
    text, space = outcome
    write_out((f"{text}\n" if text else "") + f"Total reclaimed space: {human_size(space, 4)}\n")


def _containers(context: "Context", arguments: Arguments) -> "Outcome":
    answer = _prune(context, "containers", filter_pairs(arguments))
    return _listed("Containers", answer.get("ContainersDeleted")), _space(answer)


def _networks(context: "Context", arguments: Arguments) -> "Outcome":
    return _listed("Networks", _prune(context, "networks", filter_pairs(arguments)).get("NetworksDeleted")), 0


def _volumes(context: "Context", arguments: Arguments, everything: bool) -> "Outcome":
    pairs = filter_pairs(arguments)
    answer = _prune(context, "volumes", [*pairs, ("all", "true")] if everything else pairs)
    return _listed("Volumes", answer.get("VolumesDeleted")), _space(answer)


def _images(context: "Context", arguments: Arguments) -> "Outcome":
    dangling = "false" if arguments.flag("all") else "true"
    answer = _prune(context, "images", [*filter_pairs(arguments), ("dangling", dangling)])
    deleted = answer.get("ImagesDeleted")
    lines = [
        f"{key.lower()}: {value}"
        for step in (deleted if isinstance(deleted, list) else [])
        for key, value in step.items()
    ]
    return _listed("Images", lines), _space(answer)


def _build_cache(context: "Context", arguments: Arguments, keep: int = 0) -> "Outcome":
    limits = {"all": arguments.flag("all"), "keep-storage": keep or None}
    answer = _prune(context, "build", filter_pairs(arguments), limits)
    return _listed("build cache objects", answer.get("CachesDeleted")), _space(answer)


def _prune(
    context: "Context", noun: str, pairs: "Sequence[tuple[str, str]]", more: "Mapping[str, object] | None" = None
) -> "Record":
    wanted: dict[str, list[str]] = {}
    for key, value in pairs:
        wanted.setdefault(key, []).append(value)
    query = {**(more or {}), "filters": dumps(wanted) if wanted else ""}
    answer = context.engine.call("POST", with_query(f"/{noun}/prune", **query))
    return answer if isinstance(answer, dict) else {}


def _listed(noun: str, names: object) -> str:
    found = [str(name) for name in names] if isinstance(names, list) else []
    return f"Deleted {noun}:\n" + "".join(f"{name}\n" for name in found) if found else ""


def _space(answer: "Record") -> int:
    space = answer.get("SpaceReclaimed")
    return space if isinstance(space, int) else 0
