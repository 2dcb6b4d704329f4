"""What `hostvm bootstrap` can make. A recipe is data; a release of Debian is one without packages of its own."""

from __future__ import annotations

from dataclasses import dataclass, field

from vm_images.archive_file import Settings
from vm_images.mariadb import ENTRYPOINT, SERVER_CONFIGURATION


@dataclass(frozen=True, slots=True)
class Recipe:
    """Packages over a release, or over its slim variant.

    `files` are (path, mode, text); `finish` is shell that runs when all is installed.
    """

    release: str
    packages: tuple[str, ...] = ()
    settings: Settings = field(default_factory=Settings)
    files: tuple[tuple[str, int, str], ...] = ()
    finish: str = ""
    summary: str = ""
    slim: bool = False

    @property
    def base(self) -> str:
        """The name of what it stands on."""
        return f"debian:{self.release}{SLIM if self.slim else ''}"


#: How the name of a release's variant ends that has no manuals and translations.
SLIM = "-slim"

#: Whose busybox-static the image `busybox` has.
BUSYBOX_RELEASE = "bookworm"

_MARIADB = Recipe(
    release="bookworm",
    packages=("mariadb-server",),
    settings=Settings(
        command=("mariadbd",),
        entrypoint=("docker-entrypoint.sh",),
        exposed=("3306/tcp",),
        volumes=("/var/lib/mysql",),
    ),
    files=(
        ("/usr/local/bin/docker-entrypoint.sh", 0o755, ENTRYPOINT),
        ("/etc/mysql/mariadb.conf.d/99-container.cnf", 0o644, SERVER_CONFIGURATION),
    ),
    # The package's own data: a container makes its own on its first start, with its own password.
    finish="find /var/lib/mysql -mindepth 1 -delete; install -d -o mysql -g mysql /run/mysqld",
    summary="MariaDB server with the settings of the hub's image (MARIADB_ROOT_PASSWORD, MYSQL_DATABASE, ...)",
)

#: Image name (without a tag) -> recipe.
RECIPES = {"mariadb": _MARIADB}
