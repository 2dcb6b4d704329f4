"""Fields that the engine leaves out of its JSON when they are empty, and that a template may ask for all the same.

docker's client reads the answer into Go structs, in which such a field is there and zero: `{{if .State.Health}}` is
false and no error. The fields are those with `omitempty` in the API's types (moby, api/types).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    Record = dict[str, object]

_CONFIG: "Record" = {
    "ArgsEscaped": False, "ExposedPorts": {}, "Healthcheck": None, "MacAddress": "", "NetworkDisabled": False,
    "Shell": [], "StopSignal": "", "StopTimeout": None,
}  # fmt: skip

#: Kind -> part of the record ("" = itself) -> field -> its zero.
_OMITTED: "dict[str, dict[str, Record]]" = {
    "container": {
        "": {"SizeRw": None, "SizeRootFs": None},
        "State": {"Health": None},
        "Config": _CONFIG,
        "HostConfig": {
            "Annotations": {}, "Init": None, "Mounts": [], "StorageOpt": {}, "Sysctls": {}, "Tmpfs": {},
        },
    },
    "image": {"": {"Parent": "", "Comment": "", "Author": ""}, "Config": _CONFIG},
    "network": {"": {"Peers": [], "Services": {}}},
    "volume": {"": {"CreatedAt": "", "Status": {}, "UsageData": None}},
}  # fmt: skip


def complete(kind: str, record: "Record") -> "Record":
    """The record with its zeros."""
    completed = dict(record)
    for part, zeros in _OMITTED[kind].items():
        if not part:
            completed = {**zeros, **completed}
        elif isinstance(inner := completed.get(part), dict):
            completed[part] = {**zeros, **inner}
    return completed
