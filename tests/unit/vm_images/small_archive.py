"""A Debian archive of a few tiny packages, signed with a key of its own: what the tests fetch from."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import subprocess
import tarfile
from dataclasses import dataclass, field
from email.utils import formatdate

#: 2024-01-01
EPOCH = 1704067200

Files = dict[str, bytes]


def make_tar(files: Files) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.mode, info.mtime = 0o755, EPOCH + 5
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def make_ar(members: Files) -> bytes:
    parts = [b"!<arch>\n"]
    for name, data in members.items():
        parts.append(
            f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
        )
    return b"".join(parts)


def make_deb(files: Files) -> bytes:
    return make_ar({
        "debian-binary": b"2.0\n",
        "control.tar.gz": gzip.compress(make_tar({"control": b""})),
        "data.tar.xz": lzma.compress(make_tar(files)),
    })  # fmt: skip


@dataclass
class Deb:
    name: str
    fields: str = ""
    files: Files = field(default_factory=dict)
    version: str = "1.0"


class SmallArchive:
    """Lies in `root`/debian; `publish` writes and signs it. What is changed after that is a forgery."""

    def __init__(self, root: str, gnupg: str, codename: str = "bookworm") -> None:
        self.root = root
        self.gnupg = gnupg
        self.codename = codename
        self.mirror = f"file://{root}/debian"
        self.debs: list[Deb] = []

    @property
    def suite(self) -> str:
        return f"{self.root}/debian/dists/{self.codename}"

    def add(self, name: str, fields: str = "", files: Files | None = None, version: str = "1.0") -> None:
        self.debs.append(Deb(name, fields, files or {}, version))

    def publish(self, extra: str = "", signed: bool = True) -> None:
        packages = lzma.compress("\n".join(map(self._publish_deb, self.debs)).encode())
        index = "main/binary-amd64/Packages.xz"
        digest = hashlib.sha256(packages).hexdigest()
        self._write(f"{self.suite}/{index}", packages)
        self._write(f"{self.suite}/main/binary-amd64/by-hash/SHA256/{digest}", packages)
        release = (
            f"Origin: Debian\nCodename: {self.codename}\nDate: {formatdate(EPOCH, usegmt=True)}\n{extra}"
            f"Acquire-By-Hash: yes\nSHA256:\n {digest} {len(packages)} {index}\n"
        )
        self._write(f"{self.suite}/Release", release.encode())
        if signed:
            self.sign()

    def sign(self) -> None:
        gpg = ["gpg", "--homedir", self.gnupg, "--batch", "--yes", "--quiet"]
        release = f"{self.suite}/Release"
        subprocess.run([*gpg, "--clearsign", "-o", f"{self.suite}/InRelease", release], check=True, timeout=60)
        subprocess.run([*gpg, "--detach-sign", "-o", f"{release}.gpg", release], check=True, timeout=60)

    def _publish_deb(self, deb: Deb) -> str:
        data = make_deb(deb.files)
        path = f"pool/{deb.name}_{deb.version}.deb"
        self._write(f"{self.root}/debian/{path}", data)
        return (
            f"Package: {deb.name}\nVersion: {deb.version}\nArchitecture: amd64\n{deb.fields}Filename: {path}\n"
            f"Size: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
        )

    def _write(self, path: str, data: bytes) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)


class Silent:
    """A Progress that keeps what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.begun: list[str] = []
        self.advanced = 0

    def note(self, text: str) -> None:
        self.notes.append(text)

    def begin(self, title: str, total: int) -> None:
        self.begun.append(title)

    def advance(self, count: int) -> None:
        self.advanced += count

    def finish(self) -> None:
        pass
