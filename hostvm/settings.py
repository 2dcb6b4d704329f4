"""What the environment tells the command line: read once, at the start.

On the hot path: `posix` in place of `os`, which costs 1 ms to import.
"""

import sys
from posix import getuid, lstat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NATIVE = "native"
#: The VM machine that is made on first use.
DEFAULT_VM = "vm"

_FOLDER, _KIND = 0o040000, 0o170000


class Settings:
    """Where the engine is, and what it is started with.

    The folders' defaults depend on the machine: a native engine's are the system's, a VM machine's are the user's.
    """

    __slots__ = ("_cache", "_config", "_data", "_environment", "_run", "docker_context", "host", "machine")

    def __init__(
        self,
        data: str = "",
        run: str = "",
        config: str = "",
        host: str = "",
        machine: str = "",
        cache: str = "",
        environment: "Mapping[bytes, bytes] | None" = None,
    ) -> None:
        self._data = data
        self._run = run
        self._config = config
        self._cache = cache
        self._environment = environment or {}
        self.host = host  #: `unix:///path` of an engine that somebody else runs; "" = ours
        self.docker_context = ""  #: the one of docker's that -c names; its engine is `host` then
        self.machine = machine or default_machine(sys.platform)

    @property
    def is_native(self) -> bool:
        return self.machine == NATIVE

    @property
    def data(self) -> str:
        return self._data or ("/var/lib/hostvm" if self.is_native else _folder_of_platform("user_data_dir"))

    @property
    def run(self) -> str:
        return self._run or ("/run/hostvm" if self.is_native else user_run(sys.platform, self._environment))

    @property
    def config(self) -> str:
        if self._config or self.is_native:
            return self._config or "/etc/hostvm/config.toml"
        return f"{_folder_of_platform('user_config_dir')}/config.toml"

    @property
    def cache(self) -> str:
        return self._cache or _folder_of_platform("user_cache_dir")

    @property
    def socket(self) -> str:
        """The path of the engine's socket."""
        return self.host.removeprefix("unix://") if self.host else self.own_socket

    @property
    def own_socket(self) -> str:
        """That of our machine's engine, whichever is spoken to."""
        return f"{self.run}/engine.sock" if self.is_native else f"{self.run}/machines/{self.machine}/engine.sock"


def default_machine(platform: str) -> str:
    """A Mac has no native engine."""
    return DEFAULT_VM if platform == "darwin" else NATIVE


def user_run(platform: str, environment: "Mapping[bytes, bytes]") -> str:
    """platformdirs' user_runtime_dir, which takes 5 ms to import, where it is plain what it would say."""
    home = environment.get(b"HOME", b"")
    if platform == "darwin" and home:
        return f"{_text(home)}/Library/Caches/TemporaryItems/hostvm"
    own = environment.get(b"XDG_RUNTIME_DIR", b"")
    if own.startswith(b"/") and _is_private(own):
        return f"{_text(own)}/hostvm"
    return _folder_of_platform("user_runtime_dir")


def _is_private(folder: bytes) -> bool:
    """A folder of this user that nobody else may enter, as the XDG specification wants it."""
    try:
        status = lstat(folder)
    except OSError:
        return False
    return status.st_mode & _KIND == _FOLDER and status.st_mode & 0o777 == 0o700 and status.st_uid == getuid()


def _folder_of_platform(name: str) -> str:
    import warnings

    import platformdirs

    with warnings.catch_warnings():
        # That there is no XDG_RUNTIME_DIR, as in every session of cron, su or ssh -T: the fallback is as good.
        warnings.simplefilter("ignore")
        return str(getattr(platformdirs, name)("hostvm"))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def read_settings(environment: "Mapping[bytes, bytes]") -> Settings:
    """The settings of `posix.environ`, or of any mapping like it."""

    def value(name: bytes) -> str:
        return _text(environment.get(name, b""))

    return Settings(
        data=value(b"HOSTVM_DATA"),
        run=value(b"HOSTVM_RUN"),
        config=value(b"HOSTVM_CONFIG"),
        host=value(b"HOSTVM_HOST"),
        machine=value(b"HOSTVM_MACHINE"),
        cache=value(b"HOSTVM_CACHE"),
        environment=environment,
    )
