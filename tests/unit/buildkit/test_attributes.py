"""BuildKit's attributes -> our own request."""

from __future__ import annotations

import pytest

from guest_agent.buildkit.attributes import check_syntax, exporters_of, grants_host_network, plan_build_request
from guest_agent.buildkit.messages import Exporter, SolveRequest
from guest_agent.wire.errors import HostvmError, InvalidArgument, Unsupported
from guest_agent.wire.resources import Ulimit


def test_everything_that_buildx_gives() -> None:
    attributes = {
        "filename": "sub.Dockerfile",
        "target": "made",
        "build-arg:A": "1=2",
        "label:tier": "db",
        "no-cache": "",
        "image-resolve-mode": "pull",
        "platform": "linux/arm64",
        "force-network-mode": "host",
        "add-hosts": "one=10.0.0.1,two=::1",
        "ulimit": "nofile=10:20,core=0",
        "shm-size": "1048576",
        "context:base": "docker-image://busybox",
        "context:other::linux/amd64": "local:other",
        "context:code": "https://host.test/x.git#main",
        "context:file": "https://host.test/file",
        "cache-imports": '[{"Type":"registry","Attrs":{"ref":"cached:1"}},{"Type":"gha","Attrs":{}}]',
    }
    wanted = plan_build_request(attributes, (Exporter("moby", {"name": "one:1,two"}),))
    request = wanted.request
    assert request.tags == ("one:1", "two") and request.in_parts
    assert (request.dockerfile, request.target) == ("sub.Dockerfile", "made")
    assert request.arguments == {"A": "1=2"} and request.labels == {"tier": "db"}
    assert request.no_cache and request.pull and request.platform == "linux/arm64"
    assert request.network_mode == "host" and request.extra_hosts == ("one:10.0.0.1", "two:::1")
    assert request.resources.ulimits == (Ulimit("nofile", 10, 20), Ulimit("core", 0, 0))
    assert request.shm_size == 1 << 20 and request.cache_from == ("cached:1",)
    assert request.own_cache_too and not request.no_cache_stages
    assert request.named_remotes == {"code": "https://host.test/x.git#main", "file": "https://host.test/file"}
    assert request.named_images == {"base": "busybox"} and wanted.contexts == {"other": "other"}


def test_defaults() -> None:
    wanted = plan_build_request({"image-resolve-mode": "local"}, ())
    assert wanted.request.dockerfile == "Dockerfile" and not wanted.request.no_cache and not wanted.request.pull
    assert (wanted.context_folder, wanted.dockerfile_folder, wanted.uploaded) == ("context", "dockerfile", "")


def test_contexts_that_are_no_folder() -> None:
    uploaded = plan_build_request({"context": "http://buildkit-session/abc"}, ())
    assert uploaded.uploaded == "/abc" and not uploaded.request.remote and not uploaded.request.in_parts
    remote = plan_build_request({"context": "https://host/x.git"}, ())
    assert remote.request.remote == "https://host/x.git" and not remote.request.in_parts


@pytest.mark.parametrize(
    "attributes",
    [
        {"platform": "linux/amd64,linux/arm64"},
        {"requestid": "frontend.outline"},
        {"attest:sbom": ""},
        {"context:other": "oci-layout://x"},
        {"force-network-mode": "bridge"},
        {"add-hosts": "nothing"},
        {"ulimit": "nofile"},
        {"shm-size": "big"},
        {"cache-imports": "{"},
        {"cache-imports": "[1]"},
    ],
)
def test_what_can_not_be_had(attributes: dict[str, str]) -> None:
    with pytest.raises(HostvmError):
        plan_build_request(attributes, ())


def test_old_clients_name_one_exporter() -> None:
    assert exporters_of(SolveRequest(exporter="moby", exporter_attrs={"name": "x"})) == (
        Exporter("moby", {"name": "x"}),
    )
    assert exporters_of(SolveRequest(exporter="a", exporters=(Exporter("b"),))) == (Exporter("b"),)


def test_only_the_dockerfiles_own_front_end_is_here() -> None:
    for known in ("docker/dockerfile", "docker/dockerfile:1.7-labs", "docker.io/docker/dockerfile-upstream:master"):
        check_syntax(f"# syntax={known}\n".encode(), {})
    with pytest.raises(Unsupported, match="other/one"):
        check_syntax(b"# syntax=other/one\n", {})
    with pytest.raises(Unsupported):
        check_syntax(b"FROM x", {"BUILDKIT_SYNTAX": "docker/dockerfilelike"})


def test_some_stages_without_the_cache() -> None:
    request = plan_build_request({"no-cache": "One,two"}, ()).request
    assert not request.no_cache and request.no_cache_stages == {"one", "two"}


def test_entitlements() -> None:
    assert grants_host_network(("network.host",)) and not grants_host_network(())
    with pytest.raises(
        InvalidArgument, match=r"^granting entitlement security\.insecure is not allowed by build daemon"
    ):
        grants_host_network(("security.insecure",))
