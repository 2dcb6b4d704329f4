"""What a container's log options tell of it beside each line: labels, variables, the tag. Pure."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from urllib.parse import quote_plus

from guest_agent.engine.container import Container

_TAG_FIELD = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")
_DEFAULT_TAG = "{{.ID}}"


def extra_attributes(container: Container) -> dict[str, str]:
    """Labels and variables that the options name."""
    options = container.host_config.log_options
    variables = dict(variable.partition("=")[::2] for variable in container.config.environment)
    found = _chosen(container.config.labels, options.get("labels", ""), options.get("labels-regex", ""))
    return found | _chosen(variables, options.get("env", ""), options.get("env-regex", ""))


def _chosen(values: Mapping[str, str], names: str, pattern: str) -> dict[str, str]:
    wanted = set(names.split(","))
    matches = _matcher(pattern)
    return {name: value for name, value in values.items() if name in wanted or matches(name)}


def _matcher(pattern: str) -> Callable[[str], object]:
    if not pattern:
        return lambda name: False
    try:
        return re.compile(pattern).search
    except re.error:
        return lambda name: False


def expand_tag(template: str, container: Container) -> str:
    """The fields of docker's tag templates; another one stays as it is."""
    image = container.image_id.partition(":")[2]
    command = " ".join((container.path, *container.args))
    fields = {
        "ID": container.short_id,
        "FullID": container.id,
        "Name": container.name,
        "ImageID": image[:12],
        "ImageFullID": container.image_id,
        "ImageName": container.image_name,
        "DaemonName": "docker",
        "Command": command,
        "Hostname": socket.gethostname(),
    }
    return _TAG_FIELD.sub(lambda match: fields.get(match[1], match[0]), template)


def plan_tag(container: Container) -> str:
    """Under which its messages go to a journal or a syslog server."""
    return expand_tag(container.host_config.log_options.get("tag") or _DEFAULT_TAG, container)


def details_prefix(container: Container) -> bytes:
    """What `logs --details` has before each line: "key=value,key=value "."""
    attributes = extra_attributes(container)
    if container.host_config.log_options.get("tag"):
        attributes["tag"] = plan_tag(container)
    pairs = sorted(attributes.items())
    return (",".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in pairs) + " ").encode()
