"""The files of the guest image that come from no package: accounts, sshd's settings, folders, links. Data.

What differs from machine to machine (host name, keys, resolver) is written at boot; what stands here is right without.
"""

from __future__ import annotations

#: Relative to the root; folder -> mode.
FOLDERS = {
    "dev": 0o755, "etc": 0o755, "home": 0o755, "mnt": 0o755, "proc": 0o555, "root": 0o700, "run": 0o755,
    "run/hostvm": 0o700, "run/sshd": 0o755, "sys": 0o555, "tmp": 0o1777, "usr/lib/hostvm": 0o755, "var": 0o755,
    "var/lib": 0o755, "var/lib/hostvm": 0o700, "var/tmp": 0o1777,
}  # fmt: skip

#: Link -> target.
LINKS = {
    "etc/mtab": "/proc/self/mounts",
    "usr/bin/python3": "python3.11",
    "usr/bin/tini": "tini-static",
    "usr/lib/ssl/cert.pem": "/etc/ssl/certs/ca-certificates.crt",
    "usr/lib/ssl/certs": "/etc/ssl/certs",
    "usr/lib/ssl/openssl.cnf": "/etc/ssl/openssl.cnf",
    "var/run": "/run",
}

CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"

_PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
sshd:x:100:65534::/run/sshd:/bin/false
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
"""
_GROUP = """\
root:x:0:
daemon:x:1:
tty:x:5:
disk:x:6:
users:x:100:
nogroup:x:65534:
"""

#: For `sshd -i` on a stream of the channel: there is no listener, no password and no account but root's.
_SSHD_CONFIG = """\
HostKey /run/hostvm/ssh_host_ed25519_key
AuthorizedKeysFile /run/hostvm/authorized_keys
PidFile none
StrictModes no
UsePAM no
UseDNS no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
GSSAPIAuthentication no
AllowAgentForwarding yes
AllowTcpForwarding yes
PermitTunnel no
PrintMotd no
PrintLastLog no
X11Forwarding no
AcceptEnv *
PermitUserEnvironment no
SetEnv PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
Subsystem sftp internal-sftp
"""

FILES = {
    "etc/group": _GROUP,
    "etc/hostname": "hostvm\n",
    "etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n",
    "etc/os-release": 'ID=hostvm\nNAME="hostvm guest"\nPRETTY_NAME="hostvm guest"\nID_LIKE=debian\n',
    "etc/passwd": _PASSWD,
    "etc/profile": "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n",
    "etc/protocols": "ip\t0\tIP\nicmp\t1\tICMP\ntcp\t6\tTCP\nudp\t17\tUDP\nipv6-icmp\t58\tIPv6-ICMP\nsctp\t132\tSCTP\n",
    "etc/resolv.conf": "nameserver 10.0.2.3\n",
    "etc/services": "ssh\t22/tcp\ndomain\t53/tcp\ndomain\t53/udp\nhttp\t80/tcp\nhttps\t443/tcp\n",
    "etc/shells": "/bin/sh\n/bin/ash\n",
    "etc/ssh/sshd_config": _SSHD_CONFIG,
    "etc/ssl/openssl.cnf": "",
    # site adds the folder to the path of whoever runs without -S: `python3 -I -m guest_agent`
    "usr/lib/python3/dist-packages/hostvm.pth": "/usr/lib/hostvm\n",
}

#: Nobody logs in with a password.
SHADOW = "".join(f"{line.split(':')[0]}:*:::::::\n" for line in _PASSWD.splitlines())
