"""Every path of a VM machine on the host; docs/internals.md lists them. On the hot path: imports nothing."""


class VmPaths:
    """The files of all VM machines, below three roots: DATA, RUN and CACHE."""

    __slots__ = ("cache", "data", "run")

    def __init__(self, data: str, run: str, cache: str) -> None:
        self.data = data
        self.run = run
        self.cache = cache

    @property
    def machines(self) -> str:
        """One folder a machine; a machine exists when its machine.json does."""
        return f"{self.data}/machines"

    @property
    def accelerators(self) -> str:
        """Which accelerator this host can use with which QEMU; found out once a boot."""
        return f"{self.cache}/accelerators.json"

    @property
    def templates(self) -> str:
        """States of warm machines, one folder each; may be deleted."""
        return f"{self.cache}/templates"

    def machine(self, name: str) -> "MachinePaths":
        return MachinePaths(f"{self.machines}/{name}", f"{self.run}/machines/{name}")

    def template(self, key: str) -> "TemplatePaths":
        return TemplatePaths(f"{self.templates}/{key}")


class MachinePaths:
    """One machine's files: `folder` survives a reboot, `run` needn't. Sockets' paths stay below 104 bytes (macOS)."""

    __slots__ = ("folder", "run")

    def __init__(self, folder: str, run: str) -> None:
        self.folder = folder
        self.run = run

    @property
    def spec(self) -> str:
        """What the machine is: cpus, memory, disk, shares."""
        return f"{self.folder}/machine.json"

    @property
    def disk(self) -> str:
        """The data disk: images, containers, volumes."""
        return f"{self.folder}/disk.raw"

    @property
    def ram(self) -> str:
        """The guest's memory, mapped by QEMU and kept with a saved state."""
        return f"{self.folder}/ram"

    @property
    def state(self) -> str:
        """The saved state of the devices."""
        return f"{self.folder}/state"

    @property
    def state_record(self) -> str:
        """What the state was saved by and from; written last: without it there is no saved state."""
        return f"{self.folder}/state.json"

    @property
    def state_durable(self) -> str:
        """Id of the saved state that is known to be on the disk, memory included."""
        return f"{self.folder}/state.durable"

    @property
    def console(self) -> str:
        """The kernel's console."""
        return f"{self.folder}/console.log"

    @property
    def guest_log(self) -> str:
        """What the guest's programs say, the engine among them."""
        return f"{self.folder}/guest.log"

    @property
    def log(self) -> str:
        """What the supervisor and QEMU say."""
        return f"{self.folder}/supervisor.log"

    @property
    def qemu_record(self) -> str:
        """The running QEMU: pid, start time, and what it was started from."""
        return f"{self.folder}/qemu.json"

    @property
    def qemu_lock(self) -> str:
        """Held by QEMU as long as it lives, whoever started it."""
        return f"{self.folder}/qemu.lock"

    @property
    def keys(self) -> str:
        """SSH keys, made at the first shell: the guest's, and the one by which its user is let in."""
        return f"{self.folder}/keys"

    @property
    def share_journal(self) -> str:
        """Which files the guest knows, for the next supervisor and for a resume."""
        return f"{self.folder}/shares.journal"

    @property
    def repositories(self) -> str:
        """Git repositories that are being fetched for the guest; there only meanwhile."""
        return f"{self.folder}/repositories"

    @property
    def engine_socket(self) -> str:
        return f"{self.run}/engine.sock"

    @property
    def control_socket(self) -> str:
        return f"{self.run}/control.sock"

    @property
    def supervisor_lock(self) -> str:
        """Held by the supervisor: one for each machine."""
        return f"{self.run}/supervisor.lock"

    @property
    def start_lock(self) -> str:
        """Held by a command line while it starts the machine."""
        return f"{self.run}/start.lock"

    @property
    def qmp_socket(self) -> str:
        return f"{self.run}/qmp.sock"

    @property
    def channel_socket(self) -> str:
        return f"{self.run}/channel.sock"

    @property
    def share_socket(self) -> str:
        return f"{self.run}/share.sock"


class TemplatePaths:
    """A saved warm machine. `record` is written last."""

    __slots__ = ("folder",)

    def __init__(self, folder: str) -> None:
        self.folder = folder

    @property
    def ram(self) -> str:
        return f"{self.folder}/ram"

    @property
    def state(self) -> str:
        return f"{self.folder}/state"

    @property
    def record(self) -> str:
        return f"{self.folder}/template.json"
