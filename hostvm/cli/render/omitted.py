"""Fields that the engine leaves out of its JSON when they are empty, and that a template may ask for all the same.

docker's client reads the answer into Go structs, in which such a field is there and zero: `{{if .State.Health}}` is
false and no error. The fields are those with `omitempty` in the API's types (moby, api/types): to be asked for by name,
and in no JSON, range or print of the whole.
"""

from hostvm.cli.render.gotemplate.evaluate import find_key, no_entry

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


class _Completed(dict[str, object]):
    """What the engine said, as it is; with the zeros beside it."""

    def __init__(self, record: "Record", zeros: "Record") -> None:
        super().__init__(record)
        self._zeros = zeros

    def template_field(self, name: str) -> object:
        """Raises TemplateError."""
        for fields in (self, self._zeros):
            if key := find_key(fields, name):
                return fields[key]
        raise no_entry(name)


def complete(kind: str, record: "Record") -> "Record":
    """The record, with a zero for a template that asks for a field that it lacks."""
    parts = dict(record)
    for part, zeros in _OMITTED[kind].items():
        if part and isinstance(inner := parts.get(part), dict):
            parts[part] = _Completed(inner, zeros)
    return _Completed(parts, _OMITTED[kind].get("", {}))
