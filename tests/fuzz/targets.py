"""Fuzz targets: bytes in, and an exception where the target's invariant doesn't hold.

Each takes any bytes at all. `tests/unit/test_fuzz.py` gives them a moment in every test run; `scripts/fuzz` as long as
it is told, led by what the code's branches say.
"""

from __future__ import annotations

import json
import posixpath
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from guest_agent.build.expansion import ExpansionError, expand_word
from guest_agent.build.parsing import parse_dockerfile
from guest_agent.build.trees import TreeReader
from guest_agent.images.authorization import parse_challenges
from guest_agent.images.configs import encode_config, parse_config
from guest_agent.images.manifests import Index, parse_manifest
from guest_agent.images.platforms import host_platform
from guest_agent.images.reference import parse_reference
from guest_agent.store.tar import TarDecoder, TarEntry, TarError
from guest_agent.wire.errors import HostvmError, InvalidArgument
from guest_agent.wire.ignore_patterns import IgnorePatterns, parse_ignore_file
from guest_agent.wire.models import ImageConfig

DIGEST = f"sha256:{'0' * 64}"


@dataclass(frozen=True, slots=True)
class Target:
    """`check` raises where the `invariant` doesn't hold. `seeds` are inputs to begin with, `words` what they hold."""

    invariant: str
    check: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()


def check_dockerfile(data: bytes) -> None:
    try:
        parsed = parse_dockerfile(data)
    except InvalidArgument as error:
        assert error.message and "\n" not in error.message.strip(), error.message
        return
    assert parsed.stages
    if b"\r" not in data:
        assert parse_dockerfile(data.replace(b"\n", b"\r\n")) == parsed


def check_expansion(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        word = expand_word(text, {"A": "1", "EMPTY": ""}.get)
    except ExpansionError:
        return
    assert set(text) & set("$\\'\"") or word == text


def check_ignore_file(data: bytes) -> None:
    text, _, last = data.rpartition(b"\n")
    path = posixpath.normpath(last.decode("utf-8", "replace").replace("\0", "")).strip("/")
    try:
        patterns = IgnorePatterns(parse_ignore_file(text))
    except ValueError:
        return
    if path in ("", ".") or path.startswith("..") or patterns.matches(path):
        return
    folder = posixpath.dirname(path)
    while folder:
        assert not patterns.matches(folder) or patterns.needs_walk(folder), (path, folder)
        folder = posixpath.dirname(folder)


def check_reference(data: bytes) -> None:
    try:
        reference = parse_reference(data.decode("utf-8", "surrogateescape"))
    except InvalidArgument as error:
        assert "\n" not in error.message, error.message
        return
    assert parse_reference(reference.canonical) == reference == parse_reference(reference.familiar)


def check_manifest(data: bytes) -> None:
    try:
        parsed = parse_manifest(data)
    except HostvmError as error:
        assert "\n" not in error.message, error.message
        return
    descriptors = parsed.manifests if isinstance(parsed, Index) else (parsed.config, *parsed.layers)
    assert all(one.size >= 0 and one.digest.startswith("sha256:") for one in descriptors)


def check_config(data: bytes) -> None:
    try:
        parsed = parse_config(data)
    except HostvmError as error:
        assert "\n" not in error.message, error.message
        return
    written = _write_config(parsed)
    again = parse_config(written)
    assert (again.diff_ids, again.history) == (parsed.diff_ids, parsed.history)
    assert _write_config(again) == written


def _write_config(parsed: ImageConfig) -> bytes:
    return encode_config(host_platform(), parsed.config, parsed.diff_ids, parsed.history, parsed.created)


def check_tar(data: bytes) -> None:
    assert _read_tar(data, len(data) or 1) == _read_tar(data, 37)


def _read_tar(data: bytes, size: int) -> list[TarEntry | bytes] | str:
    """The entries, each with its content behind it; or what is wrong."""
    decoder, found = TarDecoder(), list[TarEntry | bytes]()
    try:
        for start in range(0, len(data), size):
            for event in decoder.feed(data[start : start + size]):
                if isinstance(event, TarEntry):
                    found += [event, b""]
                else:
                    content = found.pop()
                    assert isinstance(content, bytes)
                    found.append(content + event)
        decoder.finish()
    except TarError as error:
        assert "\n" not in str(error)
        return str(error)
    return found


def check_context(data: bytes) -> None:
    reader = TreeReader(tempfile.gettempdir())
    try:
        reader.feed(data)
        tree = reader.finish()
    except InvalidArgument as error:
        assert "\n" not in error.message, error.message
        return
    finally:
        reader.close()
    try:
        for path, entry in islice(tree.paths(), 1000):
            assert not {"", ".", ".."} & set(path.split("/")), path
            parent = tree.find(posixpath.dirname(path))
            assert parent is not None and parent.is_folder, path
            assert not entry.is_file or len(b"".join(tree.pieces(entry, 1 << 16))) == entry.size, path
    finally:
        tree.close()


def check_challenge(data: bytes) -> None:
    parsed = parse_challenges([data.decode("latin-1")])
    assert all(scheme == scheme.lower() for scheme in parsed)


_TAR_HEADER = b"a".ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + b"00000000003\0" + b"00000000000\0"
_TAR_HEADER += b"0007012\0" + b"0" + bytes(100) + b"ustar\x0000" + bytes(247)


def _tar() -> bytes:
    """One file, with the checksum that belongs to it."""
    total = sum(_TAR_HEADER[:148]) + 8 * 0x20 + sum(_TAR_HEADER[156:512])
    return _TAR_HEADER[:148] + b"%06o\0 " % total + _TAR_HEADER[156:512] + b"abc".ljust(512, b"\0") + bytes(1024)


_DESCRIPTOR = {"mediaType": "x", "digest": DIGEST, "size": 1, "platform": {"os": "linux", "architecture": "arm"}}
_MANIFEST = {"schemaVersion": 2, "config": _DESCRIPTOR, "layers": [_DESCRIPTOR]}
_CONFIG = {
    "os": "linux", "architecture": "amd64", "created": "2024-01-01T00:00:00Z",
    "config": {"Env": ["A=1"], "Cmd": ["x"], "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}},
               "Labels": {"a": "b"}, "Healthcheck": {"Test": ["NONE"], "Interval": 1}, "OnBuild": ["RUN x"],
               "StopTimeout": 3},
    "rootfs": {"type": "layers", "diff_ids": [DIGEST]}, "history": [{"created_by": "x", "empty_layer": True}],
}  # fmt: skip
_DOCKERFILE = (
    b"# escape=`\nARG A=1\nFROM a AS b\nRUN --mount=type=cache,target=/x <<E\ntext\nE\nCOPY --from=b a `\n b\n"
)

#: By the name that `scripts/fuzz` takes.
TARGETS = {
    "dockerfile": Target(
        "Any bytes are stages or one line that says what is wrong, and Windows' line ends change nothing.",
        check_dockerfile,
        (_DOCKERFILE, b"FROM a\nHEALTHCHECK --interval=1s CMD [\"x\"]\nENV a=b c='d e'\nONBUILD ADD x y\nEXPOSE 1-2"),
        (b"FROM ", b"RUN ", b"COPY ", b"<<", b"--", b"\\\n", b"\n", b"[\"", b"=", b"$", b"#"),
    ),
    "expansion": Target(
        "Any text is a word or an error, and text without quotes, dollars and escapes is itself.",
        check_expansion,
        (b"${A:-x}${EMPTY:+y}$A\\$'q'\"$A\"", b"${A#*x}${A/a/b}"),
        (b"${", b"}", b":-", b":+", b"$A", b"'", b'"', b"\\", b"##", b"%%"),
    ),
    "ignore": Target(
        "A path that isn't left out is reached: every folder on its way is taken or walked.",
        check_ignore_file,
        (b"*\n!a/b\n**/c\na/b/c", b"a[b-c]?\n# x\n!**/d*\ne/f"),
        (b"**", b"*", b"!", b"/", b"[", b"]", b"\\", b"\n", b"a", b"b"),
    ),
    "reference": Target(
        "What parses is the same after it was written in its long or its short form.",
        check_reference,
        (b"alpine", b"localhost:5000/a/b:1@" + DIGEST.encode(), b"docker.io/library/x:y"),
        (b"docker.io/", b"library/", b"index.", b":", b"@sha256:", b"/", b"localhost"),
    ),
    "manifest": Target(
        "Any document is a manifest, an index or an error of one line; sizes and digests are such.",
        check_manifest,
        (json.dumps(_MANIFEST).encode(), json.dumps({"schemaVersion": 2, "manifests": [_DESCRIPTOR]}).encode()),
        (b'"layers"', b'"manifests"', b'"digest"', b"sha256:", b"[", b"{", b"null", b"-1", b"1e999"),
    ),
    "config": Target(
        "A configuration that is understood is written the same again after it was written and read.",
        check_config,
        (json.dumps(_CONFIG).encode(),),
        (b'"config"', b'"history"', b"null", b"[", b"{", b"0", b"-1", b"\\ud800", b"/tcp"),
    ),
    "tar": Target(
        "A tar has the same entries, or the same fault, in whatever pieces it comes.",
        check_tar,
        (_tar(), _tar()[:700]),
        (b"ustar", b"x", b"L", b"K", b"11 path=ab\n", b"GNU.sparse."),
    ),
    "context": Target(
        "No path of a context leads out of it, each is in a folder, and each file has all of its bytes.",
        check_context,
        (_tar(), b"\x1f\x8b", b""),
        (b"../", b"/", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"BZh9", b"\xfd7zXZ\x00"),
    ),
    "challenge": Target(
        "Any WWW-Authenticate header gives schemes with parameters, and no error.",
        check_challenge,
        (b'Bearer realm="https://a/token",service="s",scope="x"', b"Basic realm=x"),
        (b'realm="', b'\\"', b",", b"=", b" "),
    ),
}  # fmt: skip
