"""Every path that the engine puts on disk. `docs/internals.md` lists them too; a test compares the two.

`data` survives a reboot (default /var/lib/hostvm), `run` does not (default /run/hostvm, a tmpfs).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EnginePaths:
    """The two roots, and every name below them."""

    data: str
    run: str

    # -- data: survives a reboot

    @property
    def database(self) -> str:
        return f"{self.data}/engine.db"

    @property
    def data_lock(self) -> str:
        return f"{self.data}/engine.lock"

    @property
    def set_aside(self) -> str:
        """Where what can't be read is moved to."""
        return f"{self.data}/set-aside"

    @property
    def content(self) -> str:
        """Manifests and configurations by digest: content/sha256/<hex>."""
        return f"{self.data}/content"

    @property
    def layers(self) -> str:
        """Unpacked layers: layers/<first 24 hex digits of the diff id>, and <the same>.outline."""
        return f"{self.data}/layers"

    @property
    def temporary(self) -> str:
        """Work in progress; emptied at start-up."""
        return f"{self.data}/tmp"

    @property
    def volumes(self) -> str:
        return f"{self.data}/volumes"

    def volume(self, name: str) -> str:
        """A named volume's folder as containers see it."""
        return f"{self.volumes}/{name}/_data"

    @property
    def containers(self) -> str:
        return f"{self.data}/containers"

    def container(self, container_id: str) -> str:
        return f"{self.containers}/{container_id}"

    def upper(self, container_id: str) -> str:
        """What the container wrote: overlayfs upperdir."""
        return f"{self.containers}/{container_id}/upper"

    def work(self, container_id: str) -> str:
        """Overlayfs workdir."""
        return f"{self.containers}/{container_id}/work"

    def logs(self, container_id: str) -> str:
        """Output and its index: stdout, stderr, index."""
        return f"{self.containers}/{container_id}/logs"

    def shipped(self, container_id: str) -> str:
        """How much of the output a log driver has sent elsewhere: three numbers of 64 bits."""
        return f"{self.containers}/{container_id}/shipped"

    @property
    def build_caches(self) -> str:
        """What RUN --mount=type=cache keeps from build to build."""
        return f"{self.data}/build-caches"

    def build_cache(self, name: str) -> str:
        return f"{self.build_caches}/{name}"

    # -- run: gone after a reboot

    @property
    def socket(self) -> str:
        return f"{self.run}/engine.sock"

    @property
    def keeper_lock(self) -> str:
        return f"{self.run}/keeper.lock"

    @property
    def exit_journal(self) -> str:
        """The keeper's record of who ended how: one line a process."""
        return f"{self.run}/exits"

    @property
    def engine_log(self) -> str:
        return f"{self.data}/engine.log"

    @property
    def runtime_root(self) -> str:
        """`crun --root`."""
        return f"{self.run}/runtime"

    def exec_folder(self, exec_id: str) -> str:
        """What `crun exec` is told, while an exec runs."""
        return f"{self.run}/execs/{exec_id}"

    @property
    def protected_runtime(self) -> str:
        """The runtime's binary, bound read-only, so that a container can't overwrite it (CVE-2019-5736)."""
        return f"{self.run}/oci-runtime"

    @property
    def probes(self) -> str:
        """Cached answers about this kernel and runtime."""
        return f"{self.run}/probes.json"

    @property
    def bundles(self) -> str:
        return f"{self.run}/containers"

    def bundle(self, container_id: str) -> str:
        """The OCI bundle: config.json, rootfs/, and the container's hosts, hostname and resolv.conf."""
        return f"{self.bundles}/{container_id}"

    @property
    def build_secrets(self) -> str:
        """Secrets of a RUN, for the time of the step."""
        return f"{self.run}/build-secrets"

    def shared_memory(self, container_id: str) -> str:
        """/dev/shm of a container whose ipc namespace others may join: a tmpfs that they mount, too."""
        return f"{self.bundles}/{container_id}/shm"

    def console_socket(self, identity: str) -> str:
        """Where the runtime hands a terminal over; short, because a socket's path may have 107 bytes."""
        return f"{self.run}/tty-{identity[:12]}"

    def rootfs(self, container_id: str) -> str:
        return f"{self.bundles}/{container_id}/rootfs"
