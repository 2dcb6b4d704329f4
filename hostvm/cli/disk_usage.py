"""`system df`."""

from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure
from hostvm.cli.output import write_out
from hostvm.cli.render.container_view import CONTAINERS
from hostvm.cli.render.image_view import IMAGES, split_tags
from hostvm.cli.render.units import ago, human_size
from hostvm.cli.render.view import Row, View, render
from hostvm.cli.times import parse_time
from hostvm.cli.volumes import VOLUMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context

    Record = dict[str, object]

_IMAGES = ("Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize", "Containers")
_CONTAINERS = ("ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names")
_VOLUMES = ("Name", "Links", "Size")

BUILD_CACHE = View(
    "*formatter.buildCacheContext",
    "ID",
    ("ID", "CacheType", "Size", "CreatedSince", "LastUsedSince", "UsageCount", "Shared"),
    {
        "ID": ("CACHE ID", lambda row: row.text("ID")[:12] + ("*" if row.record.get("InUse") else "")),
        "CacheType": ("CACHE TYPE", lambda row: row.text("Type")),
        "Size": ("SIZE", lambda row: human_size(row.number("Size"))),
        "CreatedSince": ("CREATED", lambda row: _since(row, "CreatedAt")),
        "LastUsedSince": ("LAST USED", lambda row: _since(row, "LastUsedAt")),
        "UsageCount": ("USAGE", lambda row: str(row.number("UsageCount"))),
        "Shared": ("SHARED", lambda row: str(bool(row.record.get("Shared"))).lower()),
    },
)

SUMMARY = View(
    "*formatter.diskUsageContext",
    "Type",
    ("Type", "TotalCount", "Active", "Size", "Reclaimable"),
    {
        "Type": ("TYPE", lambda row: row.text("Type")),
        "TotalCount": ("TOTAL", lambda row: row.text("TotalCount")),
        "Active": ("ACTIVE", lambda row: row.text("Active")),
        "Size": ("SIZE", lambda row: human_size(row.number("Size"), 4)),
        "Reclaimable": ("RECLAIMABLE", lambda row: _reclaimable(row)),
    },
)


def df(context: "Context", arguments: Arguments) -> int:
    from time import time

    template = arguments.text("format")
    if arguments.flag("verbose") and template not in ("", "table"):
        raise Failure("the verbose and the format options conflict", 1)
    usage = context.engine.find("/system/df")
    now = time()
    if arguments.flag("verbose"):
        write_out(verbose_text(usage, now))
        return 0
    write_out(render(SUMMARY, [Row(SUMMARY, record, now, False) for record in summary(usage)], template, False))
    return 0


def summary(usage: "Record") -> "list[Record]":
    """The four lines. Pure."""
    images, containers, volumes = (_records(usage, key) for key in ("Images", "Containers", "Volumes"))
    layers = _number(usage, "LayersSize")
    used = sum(
        _number(one, "Size") - max(0, _number(one, "SharedSize")) for one in images if _number(one, "Containers")
    )
    stopped = [one for one in containers if one.get("State") not in ("running", "paused", "restarting")]
    idle = [one for one in volumes if not _usage(one, "RefCount")]
    return [
        _line("Images", len(images), sum(1 for one in images if _number(one, "Containers")), layers, layers - used),
        _line(
            "Containers",
            len(containers),
            len(containers) - len(stopped),
            sum(_number(one, "SizeRw") for one in containers),
            sum(_number(one, "SizeRw") for one in stopped),
        ),
        _line(
            "Local Volumes",
            len(volumes),
            len(volumes) - len(idle),
            sum(max(0, _usage(one, "Size")) for one in volumes),
            sum(max(0, _usage(one, "Size")) for one in idle),
        ),
        _line("Build Cache", *_cache(_records(usage, "BuildCache"))),
    ]


def _cache(entries: "list[Record]") -> tuple[int, int, int, int]:
    used = [one for one in entries if one.get("InUse")]
    free = [one for one in entries if not one.get("InUse") and not one.get("Shared")]
    size = sum(_number(one, "Size") for one in entries if not one.get("Shared"))
    return len(entries), len(used), size, sum(_number(one, "Size") for one in free)


def _line(kind: str, total: int, active: int, size: int, reclaimable: int) -> "Record":
    return {"Type": kind, "TotalCount": total, "Active": active, "Size": size, "Reclaimable": reclaimable}


def _reclaimable(row: Row) -> str:
    size, free = row.number("Size"), row.number("Reclaimable")
    text = human_size(free, 4)
    return f"{text} ({free * 100 // size}%)" if size > 0 and row.text("Type") != "Build Cache" else text


def verbose_text(usage: "Record", now: float) -> str:
    """Each image, container, volume and record of the build cache in a table of its kind. Pure."""
    images = [Row(IMAGES, record, now, False) for record in split_tags(_records(usage, "Images"))]
    containers = [Row(CONTAINERS, record, now, False) for record in _records(usage, "Containers")]
    volumes = [Row(VOLUMES, record, now, False) for record in _records(usage, "Volumes")]
    cache = [Row(BUILD_CACHE, record, now, False) for record in _by_use(_records(usage, "BuildCache"))]
    cached = _cache(_records(usage, "BuildCache"))[2]
    return (
        f"Images space usage:\n\n{render(IMAGES, images, '', False, _IMAGES)}\n"
        f"Containers space usage:\n\n{render(CONTAINERS, containers, '', False, _CONTAINERS)}\n"
        f"Local Volumes space usage:\n\n{render(VOLUMES, volumes, '', False, _VOLUMES)}\n"
        f"Build cache usage: {human_size(cached, 4)}\n\n{render(BUILD_CACHE, cache, '', False)}"
    )


def _by_use(entries: "list[Record]") -> "list[Record]":
    """The least recently used first, as docker lists them."""
    return sorted(entries, key=lambda one: (_seconds(str(one.get("LastUsedAt") or "")), str(one.get("ID"))))


def _since(row: Row, key: str) -> str:
    return ago(_seconds(row.text(key)), row.now) if row.text(key) else ""


def _seconds(time: str) -> float:
    """Since the epoch; 0 for ""."""
    return float(parse_time(time, 0) or 0)


def _records(usage: "Record", key: str) -> "list[Record]":
    found = usage.get(key)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _usage(volume: "Record", key: str) -> int:
    usage = volume.get("UsageData")
    return _number(usage, key) if isinstance(usage, dict) else 0


def _number(record: "Record", key: str) -> int:
    value = record.get(key)
    return value if isinstance(value, int) else 0
