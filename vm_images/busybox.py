"""The busybox image: Debian's busybox-static, a link for each of its applets, and the least of /etc. Pure.

Applets are hard links in /bin, as in the image of the same name on the hub: a container may delete or replace one
without touching the others, and `/bin/sh` is a file for whoever looks.
"""

from __future__ import annotations

import tarfile

from guest_agent.wire.errors import PeerMisbehaved
from vm_images.tree import Kind, Node, Tree

PACKAGE = "busybox-static"

_PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
_GROUP = """\
root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
mail:x:8:
www-data:x:33:
users:x:100:
nogroup:x:65534:
"""
_ETC = {
    "passwd": _PASSWD,
    "group": _GROUP,
    "shadow": "".join(f"{line.split(':')[0]}:*:::::::\n" for line in _PASSWD.splitlines()),
    "hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    "hostname": "",
    "resolv.conf": "",
    "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
}

_FOLDERS = {
    "dev": 0o755, "etc": 0o755, "home": 0o755, "proc": 0o555, "root": 0o700, "run": 0o755, "sys": 0o555,
    "tmp": 0o1777, "usr": 0o755, "usr/bin": 0o755, "usr/sbin": 0o755, "var": 0o755, "var/spool": 0o755,
    "var/spool/mail": 0o755, "var/tmp": 0o1777, "var/www": 0o755,
}  # fmt: skip


def find_applets(binary: bytes) -> tuple[str, ...]:
    """The applets of a busybox binary: a sorted run of NUL-terminated names that begins with `[` (applet_tables.h).

    Raises PeerMisbehaved where there is no such run.
    """
    for first in (b"\0[\0[[\0", b"\0[\0"):
        start = binary.find(first)
        if start >= 0:
            end = binary.find(b"\0\0", start + 1)
            names = binary[start + 1 : end].decode("ascii", "replace").split("\0")
            if len(names) > 10 and names == sorted(names):
                return tuple(names)
    raise PeerMisbehaved(f"{PACKAGE} holds no list of applets", "is the package Debian's?")


def fill(tree: Tree, data: tarfile.TarFile) -> None:
    """Makes the image's files from the package's. Raises PeerMisbehaved."""
    tree.merge(data, lambda path, _: path.removeprefix("usr/") in ("bin/busybox", "share/doc/busybox-static/copyright"))
    where = next((path for path in ("bin/busybox", "usr/bin/busybox") if path in tree.nodes), "")
    binary = tree.read(where)
    if binary is None:
        raise PeerMisbehaved(f"{PACKAGE} holds no busybox", "is the package Debian's?")
    tree.nodes["bin/busybox"] = tree.nodes.pop(where)
    for applet in find_applets(binary):
        if applet != "busybox":
            tree.nodes[f"bin/{applet}"] = Node(Kind.HARDLINK, 0o755, target="bin/busybox")
    for path, mode in _FOLDERS.items():
        tree.add_directory(path, mode)
    for name, text in _ETC.items():
        tree.add_file(f"etc/{name}", text.encode(), 0o640 if name == "shadow" else 0o644)
