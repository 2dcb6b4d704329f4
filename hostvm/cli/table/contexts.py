"""Docker's contexts."""

from hostvm.cli.spec import Command, many, option, switch
from hostvm.cli.table.shared import FORMAT, INSPECT_FORMAT

_DESCRIPTION = option("description", "", "string", "Description of the context")
_DOCKER = many("docker", "", "pairs", "Set the docker endpoint (host=unix:///path,ca=FILE,cert=FILE,key=FILE)")

LS = Command(
    "context ls", "contexts:ls", "List contexts", (FORMAT, switch("quiet", "q", "Only show context names"))
)  # fmt: skip
CREATE = Command(
    "context create",
    "contexts:create",
    "Create a context",
    (_DESCRIPTION, _DOCKER, option("from", "", "string", "Create context from a named context")),
    "CONTEXT",
    1,
    1,
)
UPDATE = Command("context update", "contexts:update", "Update a context", (_DESCRIPTION, _DOCKER), "CONTEXT", 1, 1)
INSPECT = Command(
    "context inspect",
    "contexts:inspect",
    "Display detailed information on one or more contexts",
    (INSPECT_FORMAT,),
    "[CONTEXT] [CONTEXT...]",
    0,
    None,
)
USE = Command("context use", "contexts:use", "Set the current docker context", (), "CONTEXT", 1, 1)
SHOW = Command("context show", "contexts:show_current", "Print the name of the current context")
RM = Command(
    "context rm",
    "contexts:rm",
    "Remove one or more contexts",
    (switch("force", "f", "Force the removal of a context in use"),),
    "CONTEXT [CONTEXT...]",
    1,
    None,
)
EXPORT = Command(
    "context export", "contexts:export", "Export a context to a tar archive FILE or a tar stream on STDOUT",
    (), "CONTEXT [FILE|-]", 1, 2,
)  # fmt: skip
IMPORT = Command(
    "context import", "contexts:import_context", "Import a context from a tar file", (), "CONTEXT FILE|-", 2, 2
)
