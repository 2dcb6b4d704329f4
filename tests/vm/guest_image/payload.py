"""The first process of a guest that is asked what its image can do; it has the image's Python and nothing else.

Each answer is a line on the console: a mark, and JSON of [name, exit code, output]. Then the guest powers off.
"""

from __future__ import annotations

import json
import os
import subprocess
import time

_IMPORTS = """
import asyncio, bz2, ctypes.util, h11, h2.connection, http.client, isal.igzip_lib, logging.handlers, lzma, sqlite3, ssl
import tarfile, tomllib, urllib.request, zstandard
print(len(ssl.create_default_context().get_ca_certs()))
"""
#: Every module of the engine, the agent and init: whatever of the standard library one of them needs is there.
_ENGINE = """
import importlib, pkgutil, sys
sys.path.insert(0, "/usr/lib/hostvm")
import guest_agent
names = [it.name for it in pkgutil.walk_packages(guest_agent.__path__, "guest_agent.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""
#: What the kernel refused of the emulators' rules, and what it made of them.
_FORMATS = """
import os, sys
sys.path.insert(0, "/usr/lib/hostvm")
from guest_agent.boot.formats import FILE_SYSTEM, register_formats
print(*register_formats())
for name in set(os.listdir(FILE_SYSTEM)) - {"register", "status"}:
    print(name, open(f"{FILE_SYSTEM}/{name}").read())
"""
_CHECKS: dict[str, list[str]] = {
    "imports": ["python3", "-ISc", _IMPORTS],
    "engine": ["python3", "-ISc", _ENGINE],
    "formats": ["python3", "-ISc", _FORMATS],
    "path": ["python3", "-Ic", "import sys; print(*sys.path)"],
    "crun": ["crun", "--version"],
    "nft": ["nft", "add table inet t; add chain inet t c { type nat hook postrouting priority 100; };"
                   "add rule inet t c ip saddr 10.0.0.0/8 masquerade; add rule inet t c fib daddr type local accept"],
    "nft-list": ["nft", "list", "ruleset"],
    "nft-autoload": ["nft", "add chain inet t d { type filter hook input priority 0; };"
                            "add rule inet t d tcp dport 1 limit rate 1/second log reject with tcp reset"],
    "mke2fs": ["/usr/sbin/mke2fs", "-q", "-t", "ext4", "/disk", "30M"],
    "resize2fs": ["/usr/sbin/resize2fs", "/disk", "40M"],
    "e2fsck": ["/usr/sbin/e2fsck", "-fp", "/disk"],
    "late-module": ["modprobe", "macvlan"],
    "autoload": ["ip", "link", "add", "dummy1", "type", "dummy"],
    "sshd": ["/usr/sbin/sshd", "-T"],
    "sftp-server": ["/usr/lib/openssh/sftp-server", "-Q", "requests"],
    "tini": ["tini-static", "--version"],
    "applets": ["sh", "-c", "for it in ps ls cat kill mount fstrim modprobe tar vi; do command -v $it || exit 1; done"],
    "fuse": ["grep", "-w", "fuse", "/proc/filesystems"],
    "overlay": ["grep", "-w", "overlay", "/proc/filesystems"],
}  # fmt: skip


def main() -> None:
    os.environ["PATH"] = "/usr/sbin:/usr/bin"
    leave_initial_root()
    for kind, where in (("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")):
        subprocess.run(["mount", "-t", kind, kind, where], check=True)
    console = os.open("/dev/console", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(console, descriptor)
    for name, argv in {**modules(), **_CHECKS}.items():
        answer(name, argv)
    with open("/proc/sysrq-trigger", "w", encoding="ascii") as file:
        file.write("o")
    time.sleep(60)


def leave_initial_root() -> None:
    """As the guest's real init does: the kernel then looks for modprobe below another root than the processes' own."""
    os.mkdir("/newroot")
    subprocess.run(["mount", "--bind", "/", "/newroot"], check=True)
    os.chdir("/newroot")
    subprocess.run(["mount", "--move", ".", "/"], check=True)
    os.chroot(".")
    os.chdir("/")


def modules() -> dict[str, list[str]]:
    """In the order of the list, each by itself: nothing looks for what it needs."""
    with open("/usr/lib/hostvm/modules", encoding="utf-8") as file:
        return {f"module {path}": ["insmod", path] for path in file.read().split()}


def answer(name: str, argv: list[str]) -> None:
    result = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=60)
    line = json.dumps([name, result.returncode, result.stdout.decode("utf-8", "replace")])
    os.write(1, f"\nANSWER {line}\n".encode())


main()
