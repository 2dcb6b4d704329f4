"""/images, /distribution and /auth in docker's shapes, by version."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from guest_agent.images.removal import chain_ids
from guest_agent.wire.models import DiffId, ImageId

from .conftest import Api
from .fake_engine import BUSYBOX, fake_image

CHILD = ImageId("sha256:" + "e" * 64)


@pytest.fixture
def family(api: Api) -> Api:
    """busybox without a name, and an image that was made from it."""
    parent = replace(fake_image(()), digests=())
    config = replace(parent.config, id=CHILD)
    child = replace(
        fake_image(("app:1", "team/app:2")), config=config, parent=BUSYBOX, created_ns=parent.created_ns + 1
    )
    api.engine.images.records = [parent, child]
    return api


def _ids(api: Api, **query: object) -> list[str]:
    _, found = api.call("GET", "/images/json", **query)
    assert isinstance(found, list)
    return [image["Id"] for image in found]


def test_steps_are_listed_with_all_only(family: Api) -> None:
    assert _ids(family) == [CHILD]
    assert _ids(family, all=1) == [CHILD, BUSYBOX]
    assert _ids(family, filters={"dangling": ["true"]}) == []
    assert _ids(family, all=1, filters={"dangling": ["false"]}) == [CHILD]


def test_a_line_of_the_list(family: Api) -> None:
    def first(path: str) -> dict[str, object]:
        _, found = family.call("GET", path)
        assert isinstance(found, list)
        return dict(found[-1])

    assert (first("/v1.44/images/json?all=1")["RepoTags"], first("/images/json?all=1")["Containers"]) == ([], -1)
    old = first("/v1.42/images/json?all=1")
    assert (old["RepoTags"], old["RepoDigests"], "VirtualSize" in old) == (["<none>:<none>"], ["<none>@<none>"], True)
    assert (first("/images/json")["SharedSize"], first("/images/json?shared-size=1")["SharedSize"]) == (-1, 1_234_567)


def test_inspect(api: Api) -> None:
    _, found = api.call("GET", "/images/busybox/json")
    assert isinstance(found, dict)
    assert found["GraphDriver"]["Data"] == {"UpperDir": "/layers/top", "LowerDir": "/layers/base"}
    assert found["RootFS"]["Type"] == "layers" and "VirtualSize" not in found


def test_history(api: Api) -> None:
    _, found = api.call("GET", "/images/busybox/history")
    assert isinstance(found, list)
    assert [(line["Id"], line["Size"]) for line in found] == [(BUSYBOX, 0), ("<missing>", 1_234_567)]


def test_save(api: Api) -> None:
    answer = api.ask("GET", "/images/get?names=busybox&names=busybox:latest")
    assert (answer.headers["content-type"], answer.read()) == ("application/x-tar", f"{BUSYBOX}{BUSYBOX}".encode())
    assert api.message("GET", "/images/nosuch/get") == (404, "No such image: nosuch")


def test_push_and_pull_of_all_tags(api: Api) -> None:
    lines = api.ask("POST", "/images/localhost:5000/a/push").read().splitlines()
    assert json.loads(lines[-1])["status"].startswith("every: digest")
    assert b"busybox" in api.ask("POST", "/images/create?fromImage=busybox").read()


def test_search(api: Api) -> None:
    _, found = api.call("GET", "/images/search?term=redis")
    assert isinstance(found, list) and [item["name"] for item in found] == ["redis", "ann/redis"]
    _, found = api.call("GET", "/images/search", term="redis", filters={"stars": ["3"], "is-official": ["true"]})
    assert isinstance(found, list) and [item["name"] for item in found] == ["redis"]


def test_distribution(api: Api) -> None:
    descriptor = {"mediaType": "application/json", "digest": BUSYBOX, "size": 7}
    platforms = [{"architecture": "arm", "os": "linux", "variant": "v7"}]
    found = api.call("GET", "/distribution/localhost:5000/a/b/json")
    assert found == (200, {"Descriptor": descriptor, "Platforms": platforms})


def test_auth(api: Api) -> None:
    body = {"username": "ann", "password": "right", "serveraddress": "localhost:5000"}
    assert api.call("POST", "/auth", body) == (200, {"Status": "Login Succeeded", "IdentityToken": ""})
    kept = (200, {"Status": "Login Succeeded", "IdentityToken": "kept"})
    assert api.call("POST", "/auth", {**body, "serveraddress": "tokens.test"}) == kept
    status, message = api.message("POST", "/auth", {**body, "password": "wrong"})
    assert (status, "login attempt to" in message) == (401, True)


def test_chain_ids() -> None:
    """The OCI specification's rule: the digest of "<parent> <layer>"."""
    first, second = (DiffId(f"sha256:{digit * 64}") for digit in "ab")
    chain: tuple[str, ...] = chain_ids((first, second))
    assert chain[0] == first and chain[1] == "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c"


def test_disk_usage(api: Api) -> None:
    api.create("web")
    api.call("POST", "/volumes/create", {"Name": "data"})
    _, found = api.call("GET", "/system/df")
    assert isinstance(found, dict)
    assert (found["LayersSize"], len(found["BuildCache"])) == (1_234_567, 3)
    assert (found["Images"][0]["Containers"], found["Images"][0]["SharedSize"]) == (1, 0)
    assert "SizeRw" in found["Containers"][0] and found["Volumes"][0]["UsageData"] == {"RefCount": 0, "Size": 42}
    _, some = api.call("GET", "/system/df", type="volume")
    assert isinstance(some, dict) and (some["Images"], len(some["Volumes"])) == (None, 1)
    assert api.message("GET", "/system/df", type="x") == (400, "unknown object type: x")


def test_manifest_lists(api: Api) -> None:
    assert api.ask("GET", "/hostvm/manifests?name=r.test/a&insecure=1").read() == b"manifest of r.test/a by HTTP"
    answer = api.ask("GET", "/hostvm/manifests?name=localhost:5000/a")
    assert (answer.read(), answer.headers["content-type"]) == (b"manifest of localhost:5000/a", "application/vnd.test")
    entry = {
        "Reference": "a",
        "MediaType": "m",
        "Digest": "d",
        "Size": 1,
        "Platform": {"os": "linux", "architecture": "arm"},
    }
    assert api.call("POST", "/hostvm/manifests", {"Name": "a:1", "Manifests": [entry]}) == (200, {"Digest": "a:1: arm"})
