"""What the guest image holds: its packages, and which of their files. Data.

Debian's own dependencies would bring debconf, perl, PAM's modules and more; the packages are named one by one instead,
and the build fails when a program in the tree needs a library that isn't there (`vm_images.guest.libraries`).

A pattern has as many components as the path that it fits, each as in a shell; `**` at its end is everything below.
Paths have /usr merged: `/lib/x` is `usr/lib/x`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

SUITE = "bookworm"

#: The kernel: the newest package of this name. The cloud flavour has no drivers for hardware: half the size.
KERNEL_SERIES = "6.12"


def kernel_pattern(architecture: str) -> str:
    """Fits the whole name of the signed kernels' packages."""
    return rf"linux-image-{re.escape(KERNEL_SERIES)}\.\d+\S*-cloud-{architecture}"


MODULE_FOLDER = "usr/lib/modules"

PYTHON = "3.11"
STDLIB = f"usr/lib/python{PYTHON}"

_LIBRARIES = ("usr/lib/*-linux-gnu/*.so", "usr/lib/*-linux-gnu/*.so.*")

#: Debian's architecture -> the machine whose programs the guest runs by emulation: the other one of the two.
EMULATED = {"amd64": "aarch64", "arm64": "x86_64"}

#: Package -> the files that are taken. {emulated} is the architecture's machine in `EMULATED`.
PACKAGES: dict[str, tuple[str, ...]] = {
    # Python and what the engine imports
    "python3.11-minimal": ("usr/bin/python3.11",),
    "libpython3.11-minimal": (f"{STDLIB}/**",),
    "libpython3.11-stdlib": (f"{STDLIB}/**",),
    "python3-h11": ("usr/lib/python3/dist-packages/h11/**",),
    "python3-h2": ("usr/lib/python3/dist-packages/h2/**",),
    "python3-hpack": ("usr/lib/python3/dist-packages/hpack/**",),
    "python3-hyperframe": ("usr/lib/python3/dist-packages/hyperframe/**",),
    "python3-zstandard": ("usr/lib/python3/dist-packages/zstandard/**",),
    # programs
    "busybox-static": ("usr/bin/busybox",),
    "crun": ("usr/bin/crun",),
    "nftables": ("usr/sbin/nft",),
    "e2fsprogs": tuple(f"usr/sbin/{name}" for name in ("mke2fs", "e2fsck", "resize2fs", "tune2fs", "dumpe2fs"))
    + ("etc/mke2fs.conf",),
    "openssh-server": ("usr/sbin/sshd",),
    "openssh-sftp-server": ("usr/lib/openssh/sftp-server",),
    "tini": ("usr/bin/tini-static",),
    "procps": ("usr/bin/ps",),  # `docker top` is its output
    "ca-certificates": ("usr/share/ca-certificates/mozilla/*.crt",),
    # programs of another architecture, and what init tells the kernel of them (binfmt.d(5))
    "qemu-user-static": (
        "usr/bin/qemu-{emulated}-static", "usr/lib/binfmt.d/qemu-{emulated}.conf",
        "usr/libexec/qemu-binfmt/{emulated}-binfmt-P",
    ),
    # the libraries of all these
    "libc6": tuple(
        f"usr/lib/*-linux-gnu/{name}"
        for name in (
            "ld-linux-*", "libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "libresolv.so.2", "librt.so.1",
            "libutil.so.1",
        )
    ) + ("usr/lib/ld-linux-*", "usr/lib64/ld-linux-*"),
    "libgcc-s1": _LIBRARIES,  # libc opens it when a thread is cancelled
    **dict.fromkeys(
        (
            # Python
            "libbz2-1.0", "libexpat1", "libffi8", "liblzma5", "libsqlite3-0", "libssl3", "libzstd1", "zlib1g",
            # crun
            "libcap2", "libseccomp2", "libsystemd0", "libyajl2", "libgcrypt20", "libgpg-error0", "liblz4-1",
            # nft
            "libnftables1", "libgmp10", "libjansson4", "libmnl0", "libnftnl11", "libxtables12", "libedit2", "libbsd0",
            "libmd0", "libtinfo6",
            # ps
            "libproc2-0",
            # e2fsprogs
            "libblkid1", "libcom-err2", "libext2fs2", "libss2", "libuuid1",
            # sshd
            "libaudit1", "libcap-ng0", "libcrypt1", "libgssapi-krb5-2", "libkrb5-3", "libk5crypto3", "libkrb5support0",
            "libkeyutils1", "libnsl2", "libpam0g", "libpcre2-8-0", "libselinux1", "libtirpc3", "libwrap0",
        ),
        _LIBRARIES,
    ),
}  # fmt: skip

#: PyPI's project -> the files of its wheel that are taken, as they lie in the wheel.
WHEELS: dict[str, tuple[str, ...]] = {
    "isal": ("isal/__init__.py", "isal/_version.py", "isal/_isal.*.so", "isal/igzip_lib.*.so")
}

#: Not in the image, though a pattern above fits. The engine, init and their libraries do without.
_DROPPED = tuple(
    f"{STDLIB}/{name}"
    for name in (
        "curses/**", "dbm/**", "distutils/**", "ensurepip/**", "idlelib/**",
        "lib2to3/**", "pydoc_data/**", "tkinter/**", "turtledemo/**", "unittest/**", "wsgiref/**", "xmlrpc/**",
        "venv/**", "msilib/**", "test/**", "ctypes/test/**", "sqlite3/test/**", "ctypes/macholib/**", "config-*/**",
        "pydoc.py", "turtle.py", "antigravity.py", "this.py", "doctest.py", "cgi.py", "cgitb.py", "nntplib.py",
        "imaplib.py", "telnetlib.py", "smtplib.py", "poplib.py", "mailbox.py", "pickletools.py", "aifc.py", "sunau.py",
        "wave.py", "chunk.py", "sndhdr.py", "imghdr.py", "colorsys.py", "crypt.py", "nturl2path.py",
        "_pydecimal.py", "encodings/cp[!4]*", "encodings/iso8859*", "encodings/mac_*", "encodings/koi8*",
        "encodings/*_jis*", "encodings/euc_*", "encodings/iso2022*", "encodings/big5*", "encodings/gb*",
        "encodings/hp_roman8.py", "encodings/tis_620.py", "encodings/ptcp154.py", "encodings/kz1048.py",
        "encodings/johab.py", "encodings/hz.py", "sitecustomize.py", "_aix_support.py", "_osx_support.py",
        "__phello__/**",
        *(
            f"lib-dynload/{module}.*"
            for module in (
                "_codecs_cn", "_codecs_hk", "_codecs_iso2022", "_codecs_jp", "_codecs_kr", "_codecs_tw", "_crypt",
                "_curses", "_curses_panel", "_dbm", "_testbuffer", "_testcapi", "_testclinic", "_testimportmultiple",
                "_testinternalcapi", "_testmultiphase", "_xxsubinterpreters", "_xxtestfuzz", "audioop", "nis",
                "ossaudiodev", "readline", "spwd", "xxlimited", "xxlimited_35", "_ctypes_test",
            )
        ),
    )
) + (
    "usr/lib/python3/dist-packages/zstandard/_cffi.*", "usr/lib/python3/dist-packages/zstandard/backend_cffi.py",
    "usr/lib/python3/dist-packages/zstandard/*.pyi", "usr/lib/python3/dist-packages/h11/tests/**",
)  # fmt: skip

#: Loaded at boot, in an order in which each finds what it needs: what init and the engine use. Each costs 10 to 20 ms
#: under emulation, so the list is short. What is built into the kernel costs nothing; it is named all the same.
BOOT_MODULES = (
    "virtio_pci", "virtio_blk", "virtio_console", "virtio_net", "virtio_balloon", "virtio_rng", "fuse", "overlay",
    "ext4", "binfmt_misc", "ipv6", "af_packet", "bridge", "br_netfilter", "veth", "nf_tables", "nf_conntrack", "nf_nat",
    "nft_chain_nat", "nft_nat", "nft_masq", "nft_ct", "nft_fib", "nft_fib_ipv4", "nft_fib_ipv6", "nft_fib_inet",
)  # fmt: skip

#: In the image for what containers do; loaded by name, or by the kernel itself, which asks modprobe.
LATE_MODULES = (
    # links
    "8021q", "dummy", "ip_gre", "ip_tunnel", "ipip", "ipvlan", "macvlan", "sit", "tun", "vxlan", "wireguard",
    # nftables
    "nf_conntrack_netlink", "nf_log_syslog", "nft_compat", "nft_connlimit", "nft_dup_ipv4", "nft_flow_offload",
    "nft_hash", "nft_limit", "nft_log", "nft_numgen", "nft_queue", "nft_quota", "nft_redir", "nft_reject",
    "nft_reject_inet", "nft_reject_ipv4", "nft_reject_ipv6", "nft_socket", "nft_tproxy",
    # iptables, of both kinds
    "ip6_tables", "ip6t_REJECT", "ip6table_filter", "ip6table_mangle", "ip6table_nat", "ip6table_raw", "ip_set",
    "ip_set_hash_ip", "ip_set_hash_net", "ip_tables", "ip_vs", "ip_vs_rr", "ipt_REJECT", "iptable_filter",
    "iptable_mangle", "iptable_nat", "iptable_raw", "x_tables", "xt_LOG", "xt_MASQUERADE", "xt_NFLOG", "xt_REDIRECT",
    "xt_TCPMSS", "xt_addrtype", "xt_comment", "xt_connmark", "xt_conntrack", "xt_limit", "xt_mac", "xt_mark",
    "xt_multiport", "xt_nat", "xt_owner", "xt_physdev", "xt_pkttype", "xt_recent", "xt_set", "xt_state",
    "xt_statistic", "xt_string", "xt_tcpmss", "xt_tcpudp", "xt_time", "xt_u32",
    # the rest
    "erofs", "inet_diag", "isofs", "loop", "nls_ascii", "nls_utf8", "squashfs", "tcp_diag",
    "udp_diag", "unix_diag", "vmw_vsock_virtio_transport", "vsock", "xfrm_user",
)  # fmt: skip

#: What a lock must name, beside the kernel.
NEEDED = (*PACKAGES, *WHEELS)


def plan_patterns(package: str, architecture: str) -> tuple[str, ...]:
    """Which of a package's files an image for `architecture` takes."""
    return tuple(it.format(emulated=EMULATED[architecture]) for it in PACKAGES.get(package, ()))


def is_kept(path: str, patterns: Iterable[str]) -> bool:
    """Whether a package's file belongs into the image."""
    return any(fits(path, it) for it in patterns) and not any(fits(path, it) for it in _DROPPED)


def fits(path: str, pattern: str) -> bool:
    folder, star, _ = pattern.rpartition("/**")
    if star:
        parts = path.split("/")
        depth = folder.count("/") + 1
        return len(parts) > depth and fits("/".join(parts[:depth]), folder)
    return path.count("/") == pattern.count("/") and fnmatchcase(path, pattern)
