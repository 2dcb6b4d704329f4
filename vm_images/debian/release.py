"""The Release file of a suite: whose signature makes everything below it trustworthy.

Chain: keyring on this machine -> signature (gpgv) -> Release -> SHA256 of Packages.xz -> SHA256 of each .deb.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime

from guest_agent.wire.errors import HostFailed, PeerMisbehaved
from vm_images.debian.control import parse_paragraphs

DEBIAN_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


@dataclass(frozen=True, slots=True)
class Checksum:
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Release:
    """A verified Release file. `files` are relative to the suite's folder."""

    origin: str
    codename: str
    date: datetime
    valid_until: datetime | None
    by_hash: bool
    files: dict[str, Checksum] = field(default_factory=dict)


def parse_release(text: str) -> Release:
    """The text of a Release file. Raises ValueError."""
    fields = next(iter(parse_paragraphs(text)), {})
    if "sha256" not in fields or "date" not in fields:
        raise ValueError("no Date or no SHA256 in the Release file")
    until = fields.get("valid-until")
    return Release(
        origin=fields.get("origin", ""),
        codename=fields.get("codename", ""),
        date=parsedate_to_datetime(fields["date"]),
        valid_until=parsedate_to_datetime(until) if until else None,
        by_hash=fields.get("acquire-by-hash") == "yes",
        files=_parse_checksums(fields["sha256"]),
    )


def _parse_checksums(text: str) -> dict[str, Checksum]:
    rows = (line.split() for line in text.splitlines() if line.strip())
    return {path: Checksum(sha256, int(size)) for sha256, size, path in rows}


def find_keyrings(override: str = "") -> tuple[str, ...]:
    """The keyrings that Debian's signatures are checked with. Raises HostFailed where there is none."""
    if override:
        if not os.path.exists(override):
            raise HostFailed(f"no keyring at {override}", "HOSTVM_DEBIAN_KEYRING names a file that isn't there")
        return (override,)
    if os.path.exists(DEBIAN_KEYRING):
        return (DEBIAN_KEYRING,)
    raise HostFailed(
        "Debian's archive keyring is missing: its packages can't be verified",
        "install the package debian-archive-keyring, or name its file with HOSTVM_DEBIAN_KEYRING",
    )


def find_gpgv() -> str:
    """The program that checks signatures. Raises HostFailed: nothing is ever used unverified."""
    found = shutil.which("gpgv")
    if found is None:
        raise HostFailed(
            "gpgv is missing: Debian's packages can't be verified",
            "apt-get install gpgv (Debian), brew install gnupg (macOS)",
        )
    return found


def verify_clearsigned(data: bytes, keyrings: Sequence[str], what: str) -> str:
    """The text of an InRelease file that a key of `keyrings` signed. Raises PeerMisbehaved.

    What gpgv wrote is taken, never what was downloaded: text outside of the signed part doesn't count.
    """
    with tempfile.TemporaryDirectory(prefix="hostvm-") as folder:
        signed, plain = os.path.join(folder, "InRelease"), os.path.join(folder, "Release")
        _write(signed, data)
        _run_gpgv(keyrings, ["--output", plain, signed], what)
        with open(plain, encoding="utf-8") as file:
            return file.read()


def verify_detached(data: bytes, signature: bytes, keyrings: Sequence[str], what: str) -> str:
    """The text of a Release file whose Release.gpg a key of `keyrings` made. Raises PeerMisbehaved."""
    with tempfile.TemporaryDirectory(prefix="hostvm-") as folder:
        signed, detached = os.path.join(folder, "Release"), os.path.join(folder, "Release.gpg")
        _write(signed, data)
        _write(detached, signature)
        _run_gpgv(keyrings, [detached, signed], what)
    return data.decode("utf-8")


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def _run_gpgv(keyrings: Sequence[str], arguments: Sequence[str], what: str) -> None:
    """One good signature is enough (the archive signs with several keys); a bad one is an error."""
    rings = [word for keyring in keyrings for word in ("--keyring", os.path.abspath(keyring))]
    argv = [find_gpgv(), "--status-fd", "1", "--weak-digest", "SHA1", *rings, *arguments]
    result = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False, timeout=60)
    words = {line.split()[1] for line in result.stdout.splitlines() if line.startswith("[GNUPG:] ") and " " in line}
    if "BADSIG" in words or "VALIDSIG" not in words or "GOODSIG" not in words:
        raise PeerMisbehaved(f"the signature of {what} is not good: {_reason(words)}", _HINT)


_HINT = "is the mirror Debian's, and the package debian-archive-keyring up to date? Nothing is used unverified"
_REASONS = {
    "BADSIG": "it was changed after it was signed",
    "NO_PUBKEY": "signed with a key that the keyring doesn't have",
    "EXPKEYSIG": "signed with an expired key",
    "REVKEYSIG": "signed with a revoked key",
    "EXPSIG": "the signature has expired",
}


def _reason(words: set[str]) -> str:
    return next((text for word, text in _REASONS.items() if word in words), "there is no signature in it")
