"""Takes secrets out of text that is to leave this host: logs, settings, command lines.

What looks like a secret goes, and what merely might be one: a log that lost a harmless value can still be read, a
password that was sent to a stranger can't be called back. So the value of every environment variable goes, too, but
for those whose meaning is known. Only text passes through here; key files are never read in the first place.
"""

from __future__ import annotations

import re

GONE = "<redacted>"

#: Environment variables whose values help, and can't be secrets.
_HARMLESS = (
    "PATH", "HOME", "LANG", "TERM", "SHELL", "NO_COLOR", "HOSTVM_DATA", "HOSTVM_RUN", "HOSTVM_CACHE", "HOSTVM_CONFIG",
    "HOSTVM_MACHINE", "HOSTVM_HOST", "HOSTVM_QEMU", "HOSTVM_ACCEL",
)  # fmt: skip

_SECRET_WORDS = (
    r"pass(?:word|wd|phrase)?|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|client[_-]?key|credentials?"
    r"|auth|authorization|identitytoken|cookie|session[_-]?id|signature|bearer"
)
#: A value: in quotes up to their end, else up to what ends a word. A quote that is escaped, as in JSON within JSON,
#: counts too.
_VALUE = r"""(?:\\?"(?:\\.|[^"\\])*\\?"|'[^']*'|[^\s"',;&}\])]+)"""

_NAME = r"[A-Z][A-Z0-9_]{2,}"
_KNOWN = rf"(?:{'|'.join(_HARMLESS)})="

_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # Whole and cut off at either end: a log is read from some point on.
    (re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.S), GONE),
    (re.compile(r"\A(?:(?!-----BEGIN ).)*?-----END [A-Z0-9 ]*PRIVATE KEY-----", re.S), GONE),
    # A header's value may have any form: the rest of the line goes.
    (
        re.compile(r"(?im)\b((?:proxy-)?authorization|x-registry-(?:auth|config)|(?:set-)?cookie)(\"?'?\s*[:=]).*$"),
        rf"\1\2 {GONE}",
    ),
    (re.compile(r"(?i)\b(bearer|basic|digest)\s+[A-Za-z0-9+/_.~=-]{6,}"), rf"\1 {GONE}"),
    (re.compile(r"\b([a-z][a-z0-9+.-]*://)[^\s/@\"']+@", re.I), rf"\1{GONE}@"),
    (re.compile(rf"(?i)\b([\w.-]*(?:{_SECRET_WORDS})[\w.-]*)(\\?[\"']?\s*[=:]\s*){_VALUE}"), rf"\1\2{GONE}"),
    (re.compile(rf"(?i)(--?[\w-]*(?:{_SECRET_WORDS})[\w-]*)(\s+){_VALUE}"), rf"\1\2{GONE}"),
    # A whole setting in quotes, as in a list of them; then one that stands by itself.
    (re.compile(rf"([\"'])(?!{_KNOWN})({_NAME}=)(?:\\.|(?!\1).)*"), rf"\1\2{GONE}"),
    (re.compile(rf"\b(?!{_KNOWN})({_NAME}=){_VALUE}"), rf"\1{GONE}"),
    # What is a secret by its form, wherever it stands.
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), GONE),
    (re.compile(r"\b(?:gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,})"), GONE),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), GONE),
)


def redact(text: str) -> str:
    """The text without what is, or might be, a secret. Twice is as once."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text
