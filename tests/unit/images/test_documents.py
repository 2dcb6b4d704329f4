"""Manifests, configurations, platforms and challenges."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guest_agent.images.artefacts import plan_referrers
from guest_agent.images.authorization import parse_challenges
from guest_agent.images.configs import encode_config, parse_config
from guest_agent.images.manifests import OCI_MANIFEST, Descriptor, Index, choose, parse_manifest
from guest_agent.images.platforms import Platform, parse_platform
from guest_agent.images.progress import bar
from guest_agent.wire.errors import HostvmError, InvalidArgument, NotFound, PeerMisbehaved, Unsupported
from guest_agent.wire.models import ContainerConfig, ContainerPort, DiffId, Digest, Healthcheck, HistoryEntry, Origin

DIGEST = "sha256:" + "ab" * 32
_ARTEFACT = Descriptor(OCI_MANIFEST, Digest(DIGEST), 7)
_KEYS = st.sampled_from(
    ["config", "layers", "manifests", "mediaType", "digest", "size", "platform", "os", "rootfs", "type", "diff_ids",
     "history", "container_config", "Env", "Cmd", "Labels", "ExposedPorts", "Healthcheck"]
)  # fmt: skip
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(_JSON)
def test_hostile_documents_are_errors(value: object) -> None:
    for parse in (parse_manifest, parse_config, _plan_one_more):
        try:
            parse(json.dumps(value).encode())
        except HostvmError as error:
            assert "\n" not in error.message


def _plan_one_more(index: bytes) -> bytes:
    return plan_referrers(index, _ARTEFACT, "text/spdx")


def test_an_image_s_artefacts_are_listed_once() -> None:
    """Whatever else a registry's index has of another one stays as it is."""
    other = {"mediaType": OCI_MANIFEST, "digest": "sha256:" + "cd" * 32, "size": 5, "annotations": {"a": "b"}}
    index = _plan_one_more(_plan_one_more(json.dumps({"manifests": [other]}).encode()))
    ours = {"mediaType": OCI_MANIFEST, "digest": DIGEST, "size": 7, "artifactType": "text/spdx"}
    assert json.loads(index)["manifests"] == [other, ours]
    for none in (b"{}", b'{"manifests": null}'):
        assert json.loads(_plan_one_more(none))["manifests"] == [ours]


@pytest.mark.parametrize("manifests", ["5", '"x"', '["x"]', "[null]", '{"digest": "x"}'])
def test_an_index_of_artefacts_that_is_none(manifests: str) -> None:
    with pytest.raises(PeerMisbehaved, match=r"^the index of an image's artefacts holds no list of descriptors$"):
        _plan_one_more(f'{{"manifests": {manifests}}}'.encode())


def test_a_configuration_comes_back() -> None:
    config = ContainerConfig(
        command=("sh", "-c"),
        environment=("A=1",),
        exposed_ports=(ContainerPort(80),),
        volumes=("/data",),
        labels={"a": "b"},
        healthcheck=Healthcheck(("CMD", "true"), 5),
        stop_timeout=0,
    )
    history = (HistoryEntry("2024", "RUN x"), HistoryEntry(empty_layer=True))
    platform, layers = Platform("linux", "amd64"), [DiffId(DIGEST)]
    parsed = parse_config(encode_config(platform, config, layers, history, "2024"))
    assert (parsed.config, parsed.history, parsed.diff_ids) == (config, history, (DIGEST,))
    assert parsed.origin == Origin()
    of = Origin("ab12", replace(config, image="busybox", hostname="h", tty=True, open_stdin=True))
    assert parse_config(encode_config(platform, config, layers, history, "2024", origin=of)).origin == of


def test_choose() -> None:
    entries = [
        {"digest": DIGEST, "size": 1, "platform": {"os": "linux", "architecture": name, "variant": variant}}
        for name, variant in (("amd64", ""), ("arm64", "v8"), ("arm", "v6"))
    ]
    index = parse_manifest(json.dumps({"schemaVersion": 2, "manifests": entries}).encode())
    assert isinstance(index, Index)
    assert choose(index, parse_platform("aarch64")).platform == Platform("linux", "arm64", "v8")
    with pytest.raises(NotFound, match="no matching manifest for linux/arm/v7 in the manifest list entries") as caught:
        choose(index, parse_platform("linux/arm/v7"))
    assert caught.value.hint == "the image is there for linux/amd64, linux/arm/v6, linux/arm64/v8"


def test_schema_1_is_refused() -> None:
    with pytest.raises(Unsupported, match="schema 1 support has been removed"):
        parse_manifest(b'{"schemaVersion": 1}')


def test_malformed_platform() -> None:
    with pytest.raises(InvalidArgument, match="cannot parse platform specifier"):
        parse_platform("a/b/c/d")
    with pytest.raises(InvalidArgument, match='" " is an invalid component of "linux/ ": platform specifier component'):
        parse_platform("linux/ ")


def test_a_platform_of_one_part_is_a_known_system_or_architecture() -> None:
    assert parse_platform("ARM64") == Platform("linux", "arm64")
    assert parse_platform("windows").os == "windows"
    assert parse_platform("macos").os == parse_platform("macos/arm64").os == "darwin"
    with pytest.raises(InvalidArgument) as caught:
        parse_platform("foo")
    assert caught.value.message == '"foo": unknown operating system or architecture: invalid argument'


def test_challenges() -> None:
    header = 'Bearer realm="https://auth.example/t?a=\\"b\\"",service=reg,scope="repository:a/b:pull,push"'
    assert parse_challenges([header, 'Basic realm="x"']) == {
        "bearer": {"realm": 'https://auth.example/t?a="b"', "service": "reg", "scope": "repository:a/b:pull,push"},
        "basic": {"realm": "x"},
    }


def test_bar() -> None:
    assert bar("Downloading", "abc", 500, 1000) == {
        "status": "Downloading",
        "id": "abc",
        "progressDetail": {"current": 500, "total": 1000},
        "progress": "[" + "=" * 25 + ">" + " " * 25 + "]     500B/1kB",
    }
