"""The guest that a Lima user has: Debian with systemd, cloud-init and sshd on a disk; with docker for the port's test.

Kinder than the real thing: no firmware and boot loader, the kernel is given to QEMU directly. `python -m
tests.bench.vm.baseline` makes the disk once (mmdebstrap, a third of an hour's download at worst) and keeps it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile

FOLDER = os.path.abspath(".cache/bench/baseline")
#: Where the guest image of our own machine is kept.
CACHE = os.path.abspath(".cache/bench/hostvm")
DISK, KERNEL, INITRD, KEY = (f"{FOLDER}/{name}" for name in ("disk.raw", "vmlinuz", "initrd.img", "key"))

_PACKAGES = ",".join(
    ["linux-image-cloud-amd64", "systemd-sysv", "openssh-server", "cloud-init", "netplan.io"]
    + ["docker.io", "apparmor", "iptables", "ca-certificates"]
)
#: Lima hands cloud-init its settings as a seed, which is what NoCloud reads from this folder.
_USER_DATA = """#cloud-config
hostname: lima
users:
  - name: root
    ssh_authorized_keys: ["{key}"]
disable_root: false
ssh_pwauth: false
"""
_NETWORK = """network:
  version: 2
  ethernets:
    all:
      match: {name: "e*"}
      dhcp4: true
"""


def ensure() -> None:
    """Makes what is missing: our guest image, and the Debian guest's disk."""
    subprocess.run(
        [".venv/bin/hostvm", "machine", "build-image"], env={**os.environ, "HOSTVM_CACHE": CACHE}, check=True
    )
    if not os.path.exists(DISK):
        _make_disk()


def busybox_tar() -> bytes:
    """A root file system with one program, for `import`."""
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            tar.add("/bin/busybox", "bin/busybox")
        file.seek(0)
        return file.read()


def _make_disk() -> None:
    os.makedirs(FOLDER, exist_ok=True)
    if not os.path.exists(KEY):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", KEY], check=True)
    with tempfile.TemporaryDirectory(prefix="hvb-") as scratch:
        root = f"{scratch}/root"
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", root], check=True
        )
        _configure(root)
        shutil.copy(_newest(f"{root}/boot", "vmlinuz-"), KERNEL)
        shutil.copy(_newest(f"{root}/boot", "initrd.img-"), INITRD)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", root, f"{DISK}.part", "6G"], check=True)
        os.replace(f"{DISK}.part", DISK)


def _configure(root: str) -> None:
    with open(f"{KEY}.pub", encoding="ascii") as file:
        key = file.read().strip()
    seed = f"{root}/var/lib/cloud/seed/nocloud"
    os.makedirs(seed)
    for path, text in (
        (f"{seed}/user-data", _USER_DATA.format(key=key)),
        (f"{seed}/meta-data", "instance-id: bench-1\nlocal-hostname: lima\n"),
        (f"{seed}/network-config", _NETWORK),
        (f"{root}/etc/cloud/cloud.cfg.d/99-seed.cfg", "datasource_list: [NoCloud, None]\n"),
        (f"{root}/etc/fstab", "/dev/vda / ext4 defaults 0 1\n"),
        (f"{root}/etc/hostname", "lima\n"),
    ):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


def _newest(folder: str, prefix: str) -> str:
    return max(f"{folder}/{name}" for name in os.listdir(folder) if name.startswith(prefix))


if __name__ == "__main__":
    ensure()
