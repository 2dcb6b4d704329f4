"""SHA-256 of files."""

from __future__ import annotations


def hash_file(path: str) -> str:
    """In hexadecimal."""
    import hashlib  # OpenSSL's start costs milliseconds, and finding a guest image needs no digest

    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
