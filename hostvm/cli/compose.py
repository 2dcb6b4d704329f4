"""`compose`: hands over to the compose that is installed, which finds the engine by DOCKER_HOST."""

import os
import shutil

from hostvm.cli.arguments import Arguments
from hostvm.cli.docker_config import docker_folder
from hostvm.cli.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from hostvm.cli.main import Context

#: Where docker's command line looks for its plugins besides the user's own folder, in its order (docker/cli,
#: cli-plugins/manager).
PLUGIN_FOLDERS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
#: Words for which no engine is needed.
ALONE = ("--help", "-h", "help", "--version", "version")

HINT = "Debian and Ubuntu: apt-get install docker-compose; elsewhere: docker's plugin docker-compose-plugin"


def compose(context: "Context", arguments: Arguments) -> int:
    """Becomes compose; returns only where there is none. The engine is started first: compose wouldn't."""
    program = find_compose(docker_folder(), os.environ.get("PATH", os.defpath))
    if not program:
        raise Failure("hostvm: no compose is installed", 127, HINT)
    words = arguments.positional
    if words and words[0] not in ALONE:
        context.connect().close()
    os.execve(program, [program, *words], plan_environment(os.environ, context.settings.socket))


def find_compose(folder: str, path: str) -> str:
    """The program: docker's plugin, which is compose v2 and runs alone as well, else `docker-compose` of any version.

    "" = there is none. `folder` is docker's configuration, `path` where programs are looked for.
    """
    places = (f"{folder}/cli-plugins", *PLUGIN_FOLDERS)
    plugins = (f"{place}/docker-compose" for place in places)
    return next((plugin for plugin in plugins if os.access(plugin, os.X_OK)), "") or (
        shutil.which("docker-compose", path=path) or ""
    )


def plan_environment(environment: "Mapping[str, str]", socket: str) -> dict[str, str]:
    """Pure. A context or TLS setting of the user's would lead elsewhere."""
    others = {name: value for name, value in environment.items() if not name.startswith(("DOCKER_TLS", "DOCKER_CERT"))}
    others.pop("DOCKER_CONTEXT", None)
    return {**others, "DOCKER_HOST": f"unix://{socket}"}
