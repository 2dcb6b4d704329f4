"""`machine context`: a docker context for a machine, in docker's own store of them.

`docker context create` would refuse one that exists, needs docker's command line installed, and asks nothing more than
this file: `contexts/meta/<sha256 of the name>/meta.json` below docker's configuration (docker/cli,
cli/context/store).
"""

from __future__ import annotations

import hashlib
import json
import os

from guest_agent.wire.errors import HostFailed
from hostvm.cli.arguments import Arguments
from hostvm.cli.failure import Failure
from hostvm.cli.machine_choice import choose, have_machine
from hostvm.cli.output import write_out
from hostvm.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hostvm.cli.main import Context


def context(context: Context, arguments: Arguments) -> int:
    settings = context.settings
    name = choose(settings, arguments.positional)
    folder = docker_folder()
    if arguments.flag("rm"):
        remove_context(folder, context_name(name))
    else:
        if not have_machine(settings, name):
            raise Failure(f"there is no machine named {name!r}", 1, f"make it: hostvm machine create {name}")
        write_context(folder, settings)
        if arguments.flag("use"):
            use_context(folder, context_name(name))
    write_out(context_name(name) + "\n")
    return 0


def docker_folder() -> str:
    """Where docker's command line has its configuration."""
    return os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")


def context_name(machine: str) -> str:
    """As other tools that make contexts have it: the tool's name, then what it is about."""
    return f"hostvm-{machine}"


def context_file(folder: str, name: str) -> str:
    return f"{folder}/contexts/meta/{hashlib.sha256(name.encode()).hexdigest()}/meta.json"


def plan_context(settings: Settings) -> dict[str, object]:
    """The content of meta.json."""
    return {
        "Name": context_name(settings.machine),
        "Metadata": {"Description": f"hostvm's machine {settings.machine}"},
        "Endpoints": {"docker": {"Host": f"unix://{settings.socket}", "SkipTLSVerify": False}},
    }


def write_context(folder: str, settings: Settings) -> None:
    """Replaces one of that name. Raises HostFailed."""
    _replace(context_file(folder, context_name(settings.machine)), plan_context(settings))


def remove_context(folder: str, name: str) -> None:
    """One that isn't there is no error; docker's current context goes back to its default when it was this one."""
    path = context_file(folder, name)
    try:
        if _read_config(folder).get("currentContext") == name:
            use_context(folder, "")
        os.unlink(path)
        os.rmdir(os.path.dirname(path))
    except FileNotFoundError:
        pass
    except OSError as error:
        raise HostFailed(f"cannot remove {path}: {error.strerror}") from error


def use_context(folder: str, name: str) -> None:
    """Writes `currentContext` into docker's config.json, and leaves the rest of it alone."""
    config = _read_config(folder)
    config.pop("currentContext", None)
    _replace(f"{folder}/config.json", {**config, **({"currentContext": name} if name else {})})


def _read_config(folder: str) -> dict[str, object]:
    """Raises HostFailed: what can't be read mustn't be replaced."""
    path = f"{folder}/config.json"
    try:
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise HostFailed(f"cannot read docker's configuration {path}: {error}") from error
    if not isinstance(config, dict):
        raise HostFailed(f"cannot read docker's configuration {path}: it is no object")
    return config


def _replace(path: str, content: dict[str, object]) -> None:
    """config.json may hold credentials: a new one is for its user only, and a present one keeps its mode."""
    draft = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        mode = os.stat(path).st_mode & 0o777 if os.path.exists(path) else 0o600
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
            json.dump(content, file, indent="\t")
        os.replace(draft, path)
    except OSError as error:
        raise HostFailed(f"cannot write {path}: {error.strerror}") from error
