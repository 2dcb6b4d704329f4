"""What the machine's own apt says: its mirrors, its proxies, and whether it minds old Release files."""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from vm_images.debian.control import parse_paragraphs

_ONE_LINE = re.compile(r"^deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s*(?P<components>.*)$")


@dataclass(frozen=True, slots=True)
class AptSource:
    """One suite of one URI that apt fetches from."""

    uri: str
    suite: str
    components: tuple[str, ...] = ()
    keyring: str = ""  #: Signed-By where it names a file


@dataclass(frozen=True, slots=True)
class AptSettings:
    """Everything that matters here. Empty where there is no apt."""

    sources: tuple[AptSource, ...] = ()
    proxies: Mapping[str, str] = field(default_factory=dict)  #: scheme -> URL; "DIRECT" = none
    check_valid_until: bool = True


def parse_sources_list(text: str) -> list[AptSource]:
    """A one-line-style file: `deb [options] uri suite component ...` (sources.list(5))."""
    sources = []
    for line in text.splitlines():
        match = _ONE_LINE.match(line.partition("#")[0].strip())
        if match is None:
            continue
        options = dict(word.partition("=")[::2] for word in (match["options"] or "").split())
        components = tuple(match["components"].split())
        sources.append(
            AptSource(_uri(match["uri"]), match["suite"], components, _keyring(options.get("signed-by", "")))
        )
    return sources


def parse_deb822_sources(text: str) -> list[AptSource]:
    """A *.sources file: every URI with every suite of each enabled `deb` paragraph."""
    return [source for paragraph in parse_paragraphs(text) if _is_enabled(paragraph) for source in _expand(paragraph)]


def _is_enabled(paragraph: Mapping[str, str]) -> bool:
    return "deb" in paragraph.get("types", "").split() and paragraph.get("enabled", "yes").lower() not in (
        "no",
        "false",
    )


def _expand(paragraph: Mapping[str, str]) -> Iterable[AptSource]:
    components, keyring = tuple(paragraph.get("components", "").split()), _keyring(paragraph.get("signed-by", ""))
    for uri in paragraph.get("uris", "").split():
        for suite in paragraph.get("suites", "").split():
            yield AptSource(_uri(uri), suite, components, keyring)  # fmt: skip


def _uri(text: str) -> str:
    return text.rstrip("/")


def _keyring(signed_by: str) -> str:
    """Signed-By may hold a key's fingerprint or a whole key instead of a path: those we can't use."""
    return signed_by if signed_by.startswith("/") and "\n" not in signed_by else ""


def parse_apt_dump(text: str) -> dict[str, str]:
    """`apt-config dump` as {name in lower case: value}."""
    return {name.lower(): value for name, value in re.findall(r'^(\S+) "(.*)";$', text, re.MULTILINE)}


def read_apt_settings(root: str = "/") -> AptSettings:
    """The settings of this machine. Nothing is raised: what can't be read doesn't count."""
    sources: list[AptSource] = []
    for path in _source_files(root):
        text = _read(path)
        sources += parse_deb822_sources(text) if path.endswith(".sources") else parse_sources_list(text)
    dump = parse_apt_dump(_dump() if root == "/" else "")
    proxies = {scheme: dump[key] for scheme in ("http", "https") if dump.get(key := f"acquire::{scheme}::proxy")}
    if "http" in proxies:
        proxies.setdefault("https", proxies["http"])
    valid = dump.get("acquire::check-valid-until", "true").lower() not in ("false", "0", "no")
    return AptSettings(tuple(sources), proxies, valid)


def _source_files(root: str) -> Iterable[str]:
    folder = os.path.join(root, "etc/apt")
    yield os.path.join(folder, "sources.list")
    yield from sorted(glob.glob(os.path.join(folder, "sources.list.d/*.list")))
    yield from sorted(glob.glob(os.path.join(folder, "sources.list.d/*.sources")))


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _dump() -> str:
    program = shutil.which("apt-config")
    if program is None:
        return ""
    result = subprocess.run(
        [program, "dump"], capture_output=True, text=True, errors="replace", check=False, timeout=30
    )
    return result.stdout
