"""Which commands there are, and in which module each is described.

Only the module of the command that was called is imported. `VERBS` are docker's short forms, `NOUNS` the long ones.
"""

import sys

from hostvm.cli.spec import Command

VERBS = {
    "attach": "streams:ATTACH", "build": "build:BUILD",
    "commit": "images:COMMIT", "completion": "system:COMPLETION", "compose": "system:COMPOSE",
    "context": "machine:CONTEXT", "cp": "files:CP",
    "create": "run:CREATE", "diff": "files:DIFF", "doctor": "system:DOCTOR", "env": "system:ENV",
    "events": "system:EVENTS", "exec": "streams:EXEC", "export": "files:EXPORT", "history": "images:HISTORY",
    "images": "images:IMAGES", "import": "archives:IMPORT", "info": "system:INFO", "inspect": "system:INSPECT",
    "kill": "containers:KILL", "load": "images:LOAD", "login": "registry:LOGIN", "logout": "registry:LOGOUT",
    "logs": "streams:LOGS", "pause": "containers:PAUSE", "port": "containers:PORT", "ps": "containers:PS",
    "pull": "images:PULL", "push": "archives:PUSH", "rename": "containers:RENAME", "restart": "containers:RESTART",
    "rm": "containers:RM", "rmi": "images:RMI", "run": "run:RUN", "save": "archives:SAVE", "search": "archives:SEARCH",
    "start": "containers:START", "stats": "containers:STATS", "stop": "containers:STOP", "tag": "images:TAG",
    "top": "containers:TOP", "unpause": "containers:UNPAUSE", "update": "containers:UPDATE",
    "version": "system:VERSION", "wait": "containers:WAIT",
}  # fmt: skip

NOUNS: dict[str, dict[str, str]] = {
    "builder": {"build": "build:BUILD", "prune": "build:PRUNE"},
    "container": {
        "attach": "streams:ATTACH", "commit": "images:COMMIT", "cp": "files:CP", "create": "run:CREATE",
        "diff": "files:DIFF", "exec": "streams:EXEC", "export": "files:EXPORT",
        "inspect": "containers:INSPECT", "kill": "containers:KILL", "list": "containers:PS", "logs": "streams:LOGS",
        "ls": "containers:PS", "pause": "containers:PAUSE", "port": "containers:PORT", "prune": "prune:CONTAINER",
        "ps": "containers:PS", "remove": "containers:RM", "rename": "containers:RENAME",
        "restart": "containers:RESTART", "rm": "containers:RM", "run": "run:RUN",
        "start": "containers:START", "stats": "containers:STATS", "stop": "containers:STOP",
        "top": "containers:TOP", "unpause": "containers:UNPAUSE", "update": "containers:UPDATE",
        "wait": "containers:WAIT",
    },
    "context": {
        "create": "contexts:CREATE", "export": "contexts:EXPORT", "import": "contexts:IMPORT",
        "inspect": "contexts:INSPECT", "list": "contexts:LS", "ls": "contexts:LS", "register": "machine:CONTEXT",
        "remove": "contexts:RM", "rm": "contexts:RM", "show": "contexts:SHOW", "update": "contexts:UPDATE",
        "use": "contexts:USE",
    },
    "image": {
        "build": "build:BUILD",
        "history": "images:HISTORY", "import": "archives:IMPORT", "import-from": "moving:IMPORT_FROM",
        "inspect": "images:INSPECT", "list": "images:IMAGES",
        "load": "images:LOAD", "ls": "images:IMAGES", "prune": "prune:IMAGE", "pull": "images:PULL",
        "push": "archives:PUSH", "remove": "images:RMI", "rm": "images:RMI", "save": "archives:SAVE",
        "tag": "images:TAG",
    },
    "machine": {
        "build-image": "machine:BUILD_IMAGE", "context": "machine:CONTEXT", "cp": "machine:CP",
        "create": "machine:CREATE", "doctor": "machine:DOCTOR", "inspect": "machine:INSPECT", "list": "machine:LS",
        "logs": "machine:LOGS", "ls": "machine:LS", "reset": "machine:RESET", "restart": "machine:RESTART",
        "rm": "machine:RM", "set": "machine:SET", "shell": "machine:SHELL", "ssh": "machine:SSH",
        "start": "machine:START", "stop": "machine:STOP", "unit": "machine:UNIT",
    },
    "manifest": {
        "annotate": "manifests:ANNOTATE", "create": "manifests:CREATE", "inspect": "manifests:INSPECT",
        "push": "manifests:PUSH", "rm": "manifests:RM",
    },
    "network": {
        "connect": "networks:CONNECT", "create": "networks:CREATE", "disconnect": "networks:DISCONNECT",
        "inspect": "networks:INSPECT", "list": "networks:LS", "ls": "networks:LS", "prune": "prune:NETWORK",
        "remove": "networks:RM", "rm": "networks:RM",
    },
    "system": {
        "check": "system:CHECK", "df": "system:DF", "events": "system:EVENTS", "info": "system:INFO",
        "prune": "prune:SYSTEM",
    },
    "volume": {
        "create": "volumes:CREATE", "inspect": "volumes:INSPECT", "list": "volumes:LS", "ls": "volumes:LS",
        "prune": "prune:VOLUME", "remove": "volumes:RM", "rm": "volumes:RM",
    },
}  # fmt: skip

NOUN_HELP = {
    "builder": "Manage builds",
    "container": "Manage containers",
    "context": "Manage docker's contexts (without a verb: register this machine as one)",
    "image": "Manage images",
    "machine": "Manage the machines that engines run on",
    "manifest": "Manage manifests and manifest lists",
    "network": "Manage networks",
    "system": "Look at the engine, and clean up",
    "volume": "Manage volumes",
}

#: Verbs whose words are another program's: none of them is parsed here.
VERBATIM = ("compose",)

#: Verbs that only `cold/` knows: they are typer commands of their own.
COLD_VERBS = ("bootstrap",)


def load(path: str) -> Command:
    """The description of a verb ("ps") or of a noun's verb ("container ls"). Raises KeyError."""
    noun, _, verb = path.partition(" ")
    module, _, name = (NOUNS[noun][verb] if verb else VERBS[noun]).partition(":")
    full = f"hostvm.cli.table.{module}"
    __import__(full)
    command = getattr(sys.modules[full], name)
    assert isinstance(command, Command)
    return command if command.path == path else command.renamed(path)


def paths() -> list[str]:
    """Every command, verbs first."""
    return [*VERBS, *(f"{noun} {verb}" for noun, verbs in NOUNS.items() for verb in verbs)]
