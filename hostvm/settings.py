"""What the environment tells the command line: read once, at the start.

On the hot path: `posix` in place of `os`, which costs 1 ms to import.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Settings:
    """Where the engine is, and what it is started with. Every field has its default filled in."""

    __slots__ = ("config", "data", "host", "machine", "run")

    def __init__(self, data: str, run: str, config: str, host: str = "", machine: str = "") -> None:
        self.data = data
        self.run = run
        self.config = config
        self.host = host  #: `unix:///path` of an engine that somebody else runs; "" = ours
        self.machine = machine or "native"

    @property
    def socket(self) -> str:
        """The path of the engine's socket."""
        return self.host.removeprefix("unix://") if self.host else f"{self.run}/engine.sock"


def read_settings(environment: "Mapping[bytes, bytes]") -> Settings:
    """The settings of `posix.environ`, or of any mapping like it."""

    def value(name: bytes, default: str) -> str:
        return environment.get(name, b"").decode("utf-8", "surrogateescape") or default

    return Settings(
        data=value(b"HOSTVM_DATA", "/var/lib/hostvm"),
        run=value(b"HOSTVM_RUN", "/run/hostvm"),
        config=value(b"HOSTVM_CONFIG", "/etc/hostvm/config.toml"),
        host=value(b"HOSTVM_HOST", ""),
        machine=value(b"HOSTVM_MACHINE", ""),
    )
