"""What the kernel needs before anything can run: file systems, modules, one network interface."""

from __future__ import annotations

import fcntl
import os
import resource
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface

from guest_agent.linux import mounts, netlink
from guest_agent.linux.modules import load_module

#: slirp's own addresses (QEMU, "user" network): the host's loopback is the gateway.
ADDRESS = IPv4Interface("10.0.2.15/24")
GATEWAY = IPv4Address("10.0.2.2")
NAME_SERVER = "10.0.2.3"
INTERFACE = "eth0"

#: One module a line, in the order in which they must be loaded.
MODULES = "/usr/lib/hostvm/modules"

_NOSUID = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
_PORTS = "/sys/class/virtio-ports"

_RNDADDENTROPY, _RNDRESEEDCRNG = 0x40085203, 0x5207

#: Descriptors that a process of the guest may have: the kernel's own ceiling (fs.nr_open).
_MOST_DESCRIPTORS = 1 << 20


def leave_initial_root() -> None:
    """The kernel's initial root can't be pivoted away from, which is what a container's runtime does.

    The same tree bound once more is a mount like any other (pivot_root(2)).
    """
    os.makedirs("/newroot", exist_ok=True)
    mounts.bind("/", "/newroot")
    os.chdir("/newroot")
    mounts.mount(".", "/", flags=mounts.MS_MOVE)
    os.chroot(".")
    os.chdir("/")


def mount_file_systems() -> None:
    """What every Linux system has; shared, so that mounts made later are seen in the engine's own namespace."""
    for kind, target, flags, options in (
        ("proc", "/proc", _NOSUID, ""),
        ("sysfs", "/sys", _NOSUID, ""),
        ("devtmpfs", "/dev", mounts.MS_NOSUID, "mode=0755"),
        ("devpts", "/dev/pts", mounts.MS_NOSUID | mounts.MS_NOEXEC, "mode=0620,gid=5,ptmxmode=0666"),
        ("tmpfs", "/dev/shm", mounts.MS_NOSUID | mounts.MS_NODEV, "mode=1777"),
        ("mqueue", "/dev/mqueue", _NOSUID, ""),
        ("tmpfs", "/run", mounts.MS_NOSUID | mounts.MS_NODEV, "mode=0755"),
        ("tmpfs", "/tmp", mounts.MS_NOSUID | mounts.MS_NODEV, "mode=1777"),
        ("cgroup2", "/sys/fs/cgroup", _NOSUID, "nsdelegate,memory_recursiveprot"),
    ):
        os.makedirs(target, exist_ok=True)
        mounts.mount(kind, target, kind, flags, options)
    mounts.set_propagation("/", mounts.MS_REC | mounts.MS_SHARED)


def link_devices() -> None:
    """The names that POSIX shells expect; udev would make them."""
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        if not os.path.lexists(f"/dev/{name}"):
            os.symlink(target, f"/dev/{name}")


def load_modules(path: str) -> Iterator[str]:
    """Loads every module of the list; answers what went wrong with those that the kernel refused."""
    with open(path, encoding="utf-8") as file:
        names = file.read().split()
    for name in names:
        try:
            load_module(name)
        except OSError as error:
            yield str(error)


def raise_limits() -> None:
    """A machine that runs nothing but containers gives them all the descriptors that there are."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MOST_DESCRIPTORS, _MOST_DESCRIPTORS))


def mix_entropy(data: bytes) -> None:
    """Machines that were resumed from one template would draw the same random numbers until they get their own.

    The bytes are credited in full and the kernel's generator is seeded anew at once (random(4)).
    """
    with open("/dev/urandom", "wb", buffering=0) as device:
        fcntl.ioctl(device, _RNDADDENTROPY, struct.pack("=ii", 8 * len(data), len(data)) + data)
        fcntl.ioctl(device, _RNDRESEEDCRNG)


def randomise_addresses() -> None:
    """Of all programs that start from here on, as is Linux's default; an emulated machine boots without (argv.py)."""
    write_file("/proc/sys/kernel/randomize_va_space", "2")


def start_network(hostname: str) -> None:
    """Loopback and the one interface, with slirp's fixed addresses: no DHCP to wait for."""
    write_file("/proc/sys/kernel/hostname", hostname)
    route = netlink.RouteSocket()
    try:
        route.execute(netlink.plan_loopback_up())
        link = route.find_link(INTERFACE)
        if link is None:
            raise OSError(f"there is no interface {INTERFACE}: is virtio_net loaded?")
        route.execute(netlink.plan_address(link.index, ADDRESS), netlink.plan_up(INTERFACE))
        route.execute(netlink.plan_default_route(GATEWAY))
    finally:
        route.close()


def plan_resolv_conf(search: list[str]) -> str:
    """The guest's resolv.conf: slirp's name server asks the host's own, whatever they are at that moment."""
    domains = f"search {' '.join(search)}\n" if search else ""
    return f"nameserver {NAME_SERVER}\n{domains}"


def find_port(name: str) -> str | None:
    """The device of a virtio-serial port, by the name that QEMU was told."""
    for entry in os.listdir(_PORTS) if os.path.isdir(_PORTS) else ():
        try:
            with open(f"{_PORTS}/{entry}/name", encoding="utf-8") as file:
                if file.read().strip() == name:
                    return f"/dev/{entry}"
        except FileNotFoundError:
            continue  # a port without a name
    return None


def write_file(path: str, text: str) -> None:
    """Writes at once what a reader must not see half of only by luck: kernel switches and small settings."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
