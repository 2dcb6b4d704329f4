"""The columns of `ps`."""

from hostvm.cli.render.ports import display_ports
from hostvm.cli.render.units import ago, ellipsis, human_size, truncate_id
from hostvm.cli.render.view import Row, View


def _id(row: Row) -> str:
    return row.text("Id") if row.full else truncate_id(row.text("Id"))


def _names(row: Row) -> str:
    """Docker shows every name; links (names with a second slash) only in full."""
    names = row.record.get("Names")
    texts = [str(name).removeprefix("/") for name in names] if isinstance(names, list) else []
    return ",".join([text for text in texts if row.full or "/" not in text])


def _image(row: Row) -> str:
    image = row.text("Image")
    if not image:
        return "<no image>"
    if row.full:
        return image
    short = truncate_id(image)
    if truncate_id(row.text("ImageID")) == short:
        return short
    return image.partition("@")[0]


def _command(row: Row) -> str:
    command = row.text("Command") if row.full else ellipsis(row.text("Command"), 20)
    return quote(command)


_ESCAPES = str.maketrans({'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"})


def quote(text: str) -> str:
    """Go's strconv.Quote for what commands hold."""
    return f'"{text.translate(_ESCAPES)}"'


def _created_at(row: Row) -> str:
    return go_time(row.number("Created"))


def go_time(seconds: int) -> str:
    """`2024-05-06 07:08:09 +0000 UTC`: Go's time.Time.String without its fraction, in local time."""
    from time import localtime, strftime

    return strftime("%Y-%m-%d %H:%M:%S %z %Z", localtime(seconds))


def _ports(row: Row) -> str:
    ports = row.record.get("Ports")
    return display_ports(ports) if ports and isinstance(ports, list) else ""


def _size(row: Row) -> str:
    written, virtual = row.number("SizeRw"), row.number("SizeRootFs")
    text = human_size(written)
    return f"{text} (virtual {human_size(virtual)})" if virtual > 0 else text


def join_map(value: object) -> str:
    """`a=1,b=2`, as the LABELS column has it."""
    if not isinstance(value, dict):
        return ""
    return ",".join(f"{key}={value[key]}" for key in sorted(value))


def _mounts(row: Row) -> str:
    names = []
    for mount in _mount_list(row):
        name = str(mount.get("Name") or mount.get("Source") or "")
        names.append(name if row.full else ellipsis(name, 15))
    return ",".join(names)


def _mount_list(row: Row) -> list[dict[str, object]]:
    mounts = row.record.get("Mounts")
    return [mount for mount in mounts if isinstance(mount, dict)] if isinstance(mounts, list) else []


def _local_volumes(row: Row) -> str:
    return str(sum(1 for mount in _mount_list(row) if mount.get("Driver") == "local"))


def _networks(row: Row) -> str:
    settings = row.record.get("NetworkSettings")
    networks = settings.get("Networks") if isinstance(settings, dict) else None
    return ",".join(sorted(networks)) if isinstance(networks, dict) else ""


CONTAINERS = View(
    "*formatter.ContainerContext",
    "ID",
    ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"),
    {
        "ID": ("CONTAINER ID", _id),
        "Names": ("NAMES", _names),
        "Image": ("IMAGE", _image),
        "Command": ("COMMAND", _command),
        "CreatedAt": ("CREATED AT", _created_at),
        "RunningFor": ("CREATED", lambda row: ago(row.number("Created"), row.now)),
        "Ports": ("PORTS", _ports),
        "State": ("STATE", lambda row: row.text("State")),
        "Status": ("STATUS", lambda row: row.text("Status")),
        "Size": ("SIZE", _size),
        "Labels": ("LABELS", lambda row: join_map(row.record.get("Labels"))),
        "Mounts": ("MOUNTS", _mounts),
        "LocalVolumes": ("LOCAL VOLUMES", _local_volumes),
        "Networks": ("NETWORKS", _networks),
    },
)
