"""A bundle for a bug report: findings and logs in one .tar.gz, without secrets, with a listing of what is in it.

Only what is named here goes in: nothing is collected by walking a folder, so no key, disk or memory can get in.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping

from guest_agent.wire.errors import HostFailed
from hostvm.machines.redaction import redact

#: Bytes of each log, from its end.
MOST_OF_A_LOG = 1 << 20


def read_tail(path: str) -> str | None:
    """The last part of a text file, from a line's start on; None where there is none."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - MOST_OF_A_LOG))
            data = file.read()
    except OSError:
        return None
    if size > MOST_OF_A_LOG:
        data = data.partition(b"\n")[2]
    return data.decode(errors="replace")


def write_bundle(path: str, documents: Mapping[str, str]) -> list[str]:
    """Writes the documents, redacted, under their names; gives the listing. Raises HostFailed.

    The file appears whole or not at all, for its user only.
    """
    cleaned = {name: redact(text).encode() for name, text in documents.items()}
    listing = [f"{len(data):>9}  {name}" for name, data in cleaned.items()]
    cleaned["LISTING.txt"] = ("\n".join(listing) + "\n").encode()
    draft = f"{path}.{os.getpid()}"
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name, data in cleaned.items():
                _add(archive, f"hostvm-bundle/{name}", data)
        os.replace(draft, path)
    except OSError as error:
        raise HostFailed(f"cannot write {path}: {error.strerror}") from error
    return listing


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o600
    archive.addfile(member, io.BytesIO(data))
