"""Every key of `filters` of every endpoint: a value that matches, one that doesn't, and what dockerd 26.1.5 refuses.

Its tables are acceptedPsFilterTags (daemon/list.go), containersAcceptedFilters and networksAcceptedFilters
(daemon/prune.go), acceptedImageFilterTags and imagesAcceptedFilters (daemon/images), acceptedListFilters and
acceptedPruneFilters (volume/service), acceptedFilters (api/types/network), acceptedSearchFilterTags (registry),
acceptedPluginFilterTags (plugin), cacheFields (builder/builder-next; see test_build_cache.py), daemon/events/filter.go.
"""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import quote

import pytest

from guest_agent.api.go_patterns import find_expression, match_glob
from guest_agent.engine.container import Health, HealthStatus
from guest_agent.wire.models import ContainerId, ImageId
from guest_agent.wire.mounts import MountPoint, MountType
from guest_agent.wire.networks import EndpointSettings

from .conftest import Api
from .fake_engine import BUSYBOX, fake_image

Wanted = dict[str, object]

#: Where filters are taken, and the keys that are.
KEYS = {
    "GET /containers/json": (
        "ancestor before exited expose health id is-task isolation label name network publish since status volume"
    ),
    "POST /containers/prune": "label label! until",
    "GET /images/json": "before dangling label reference since until",
    "POST /images/prune": "dangling label label! until",
    "GET /images/search": "is-automated is-official stars",
    "GET /volumes": "dangling driver label name",
    "POST /volumes/prune": "all label label!",
    "GET /networks": "dangling driver id label name scope type",
    "POST /networks/prune": "label label! until",
    "POST /build/prune": "description id inuse label label! parent private shared type until unused-for",
    "GET /plugins": "capability enabled",
}


@pytest.mark.parametrize("endpoint", KEYS)
def test_an_unknown_key_is_refused(api: Api, endpoint: str) -> None:
    method, path = endpoint.split()
    known = set(KEYS[endpoint].split())
    for key in sorted({key for keys in KEYS.values() for key in keys.split()} - known | {"color", "Label"}):
        words = "failed to prune build cache: " if endpoint == "POST /build/prune" else ""
        assert api.message(method, path, filters={key: ["x"]}) == (400, f"{words}invalid filter '{key}'")


@pytest.mark.parametrize("endpoint", KEYS)
def test_what_is_no_map_of_texts_is_refused(api: Api, endpoint: str) -> None:
    method, path = endpoint.split()
    key = KEYS[endpoint].split()[0]
    texts = ("{", "[]", "x", f'{{"{key}": "a"}}', f'{{"{key}": [1]}}', f'{{"{key}": {{"a": 1}}}}')
    mixed = json.dumps({key: ["x"], "other": {"x": True}})
    words = "error reading volume filters: invalid filter" if endpoint == "GET /volumes" else "invalid filter"
    for text in (*texts, mixed, "[" * 10_000):
        assert api.message(method, f"{path}?filters={quote(text)}") == (400, words)


# -- containers


@pytest.fixture
def crowd(api: Api) -> Api:
    """In this order: `job` ended with 3; `web` runs, healthy, with mounts, on a network of its own; `new` never ran."""
    api.create("job")
    api.call("POST", "/containers/job/start")
    ports = {"80/tcp": [{"HostPort": "8080"}]}
    api.create("web", Cmd=["sleep"], ExposedPorts={"53/udp": {}}, HostConfig={"PortBindings": ports})
    api.call("POST", "/containers/web/start")
    api.create("new", Labels={"tier": "db", "empty": ""}, HostConfig={"NetworkMode": "none"})
    known = api.engine.containers
    job, web = known.find("job"), known.find("web")
    known.records[job.id] = replace(job, state=replace(job.state, exit_code=3))
    known.records[web.id] = replace(
        web,
        state=replace(web.state, health=Health(HealthStatus.HEALTHY)),
        mount_points=(
            MountPoint(MountType.VOLUME, "/data", "/var/volumes/cache/_data", name="cache"),
            MountPoint(MountType.BIND, "/etc/web", "/srv/web"),
        ),
        networks=(EndpointSettings("back", "9" * 64),),
        endpoints=(),
    )
    return api


def names(api: Api, **query: object) -> list[str]:
    status, found = api.call("GET", "/containers/json", **query)
    assert status == 200 and isinstance(found, list), found
    return [one["Names"][0][1:] for one in found]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"ancestor": ["busybox"]}, "new web job"),
        ({"ancestor": ["busybox:latest"]}, "new web job"),
        ({"ancestor": [BUSYBOX]}, "new web job"),
        ({"ancestor": ["nosuch"]}, ""),
        ({"ancestor": ["nosuch", "busybox"]}, "new web job"),
        ({"before": ["web"]}, "job"),
        ({"since": ["/web"]}, "new"),
        ({"since": ["job"], "before": ["new"]}, "web"),
        ({"exited": ["3"]}, "job"),
        ({"exited": ["+3", "4"]}, "job"),
        ({"exited": ["0"]}, ""),  # `new` has no exit code yet, `web` has none any more
        ({"expose": ["80"]}, "web"),
        ({"expose": ["53/udp"]}, "web"),
        ({"expose": ["50-60/udp"]}, "web"),
        ({"expose": ["53"]}, ""),
        ({"expose": ["8080"]}, ""),
        ({"publish": ["8080"]}, "web"),
        ({"publish": ["8000-9000/tcp"]}, "web"),
        ({"publish": ["8080/udp"]}, ""),
        ({"publish": ["80"]}, ""),
        ({"publish": ["1"], "expose": ["80"]}, "web"),  # of these two, one is enough
        ({"health": ["healthy"]}, "web"),
        ({"health": ["none"]}, "new job"),
        ({"health": ["starting", "unhealthy"]}, ""),
        ({"is-task": ["true"]}, ""),
        ({"is-task": ["0"]}, "new web job"),
        ({"isolation": ["hyperv"]}, "new web job"),  # Windows'
        ({"label": ["tier"]}, "new"),
        ({"label": ["tier=db", "empty="]}, "new"),
        ({"label": ["tier=db", "absent"]}, ""),
        ({"label": ["tier=web"]}, ""),
        ({"label": {}}, "new web job"),
        ({"name": ["w"]}, "new web"),
        ({"name": ["^/w"]}, "web"),
        ({"name": ["^w.b$"]}, "web"),
        ({"name": ["job", "web"]}, "web job"),
        ({"name": ["^[[:alpha:]]{3}$"]}, "new web job"),
        ({"name": ["WEB"]}, ""),
        ({"name": ["("]}, ""),
        ({"name": ["(", "web"]}, "web"),
        ({"network": ["back"]}, "web"),
        ({"network": ["999"]}, "web"),
        ({"network": ["none"]}, "new"),
        ({"network": ["bridge", "none"]}, "new job"),
        ({"network": ["bac"]}, ""),
        ({"status": ["exited"]}, "job"),
        ({"status": ["created", "running"]}, "new web"),
        ({"status": {"paused": True}}, ""),
        ({"volume": ["cache"]}, "web"),
        ({"volume": ["/data"]}, "web"),
        ({"volume": ["/srv/web"]}, "web"),
        ({"volume": ["/etc/web", "other"]}, "web"),
        ({"volume": {}}, ""),
        ({"network": {}}, ""),
        ({"ancestor": {}}, ""),
        ({"health": {}}, "new web job"),
        ({"volume": ["/var/volumes/cache/_data"]}, ""),  # where it has a name, that is it
        ({"status": ["running"], "name": ["job"]}, ""),
    ],
)
def test_containers(crowd: Api, wanted: Wanted, found: str) -> None:
    assert names(crowd, all=1, filters=wanted) == found.split()


def test_the_beginning_of_an_id_must_be_of_one_only(crowd: Api) -> None:
    identity = crowd.engine.containers.find("web").id
    assert names(crowd, filters={"id": [identity[:12]]}) == ["web"]
    assert names(crowd, all=1, filters={"id": [identity]}) == ["web"]
    assert names(crowd, all=1, filters={"id": [identity], "name": ["job"]}) == []
    assert [names(crowd, all=1, filters={"id": [text]}) for text in ("", "x", identity[1:])] == [[], [], []]
    other = replace(crowd.engine.containers.find("job"), id=ContainerId(identity[:20] + "f" * 44))
    crowd.engine.containers.records[other.id] = other
    assert names(crowd, all=1, filters={"id": [identity[:12]]}) == []


def test_which_filters_show_what_does_not_run(crowd: Api) -> None:
    """Of all of them it is `status`; also `exited` needs -a."""
    assert names(crowd, filters={"status": ["exited"]}) == ["job"]
    assert names(crowd, filters={"exited": ["3"]}) == []
    assert names(crowd, filters={"label": ["tier"]}) == []
    assert names(crowd, limit=2, filters={"exited": ["3"]}) == ["job"]


@pytest.mark.parametrize(
    ("wanted", "status", "message"),
    [
        ({"status": ["asleep"]}, 400, "invalid filter 'status=asleep'"),
        ({"exited": ["x"]}, 400, "invalid filter 'exited=x': strconv.Atoi: parsing \"x\": invalid syntax"),
        ({"exited": ["1_0"]}, 400, "invalid filter 'exited=1_0': strconv.Atoi: parsing \"1_0\": invalid syntax"),
        ({"health": ["x"]}, 400, "unrecognized filter value for health: x"),
        ({"is-task": ["True"]}, 400, "invalid filter 'is-task=[True]'"),
        ({"is-task": ["true", "false"]}, 400, "invalid filter 'is-task=[true false]'"),
        ({"is-task": {}}, 400, "invalid filter 'is-task'"),
        ({"before": ["nosuch"]}, 404, "No such container: nosuch"),
        ({"since": ["nosuch"]}, 404, "No such container: nosuch"),
        ({"publish": ["80:80"]}, 500, "filter for 'publish' should not contain ':': 80:80"),
        ({"publish": ["x"]}, 500, "error while looking up for publish x: strconv.ParseUint: parsing \"x\": "
                                  "invalid syntax"),
        ({"expose": ["65536"]}, 500, "error while looking up for expose 65536: strconv.ParseUint: parsing \"65536\": "
                                     "value out of range"),
        ({"expose": ["9-8"]}, 500, "error while looking up for expose 9-8: Invalid range specified for the Port: 9-8"),
        ({"publish": [""]}, 500, "error while looking up for publish : Empty string specified for ports."),
    ],
)  # fmt: skip
def test_malformed_values_of_containers(api: Api, wanted: Wanted, status: int, message: str) -> None:
    assert api.message("GET", "/containers/json", filters=wanted) == (status, message)


#: Of the three that a prune may take: how `label`, `label!` and `until` choose.
PRUNED = [
    ({}, "a b"),
    ({"label": ["tier"]}, "a"),
    ({"label": ["tier=db"]}, "a"),
    ({"label": ["tier=web"]}, ""),
    ({"label": ["tier", "other"]}, ""),
    ({"label!": ["tier=db"]}, "b"),
    ({"label!": ["tier=web"]}, "a b"),
    ({"label!": ["tier", "other"]}, "a b"),  # only what has both stays
    ({"label": ["tier"], "label!": ["tier"]}, ""),
    ({"until": ["24h"]}, ""),
    ({"until": ["2006-01-02T15:04:05"]}, ""),
    ({"until": ["2006-01-02Z"]}, ""),
    ({"until": ["0"]}, ""),
    ({"until": ["-1h"]}, "a b"),
    ({"until": ["2100-01-01"]}, "a b"),
    ({"until": ["4102444800.5"]}, "a b"),
]
UNTIL = [
    (["x"], 'failed to parse value as time or duration: "x"'),
    (["1h", "2h"], "more than one until filter specified"),
    (["2006-13-02"], 'parsing time "2006-13-02": month out of range'),
    (["2006-01-02T25"], 'parsing time "2006-01-02T25": hour out of range'),
    (["not-a-time"], 'parsing time "not-a-time" as "2006-01-02": cannot parse "not-a-time" as "2006"'),
]


@pytest.mark.parametrize(("wanted", "gone"), PRUNED)
def test_container_prune(api: Api, wanted: Wanted, gone: str) -> None:
    made = {api.create("a", Labels={"tier": "db"}): "a", api.create("b"): "b"}
    _, answer = api.call("POST", "/containers/prune", filters=wanted)
    assert isinstance(answer, dict)
    assert sorted(made[one] for one in answer["ContainersDeleted"] or ()) == gone.split()


@pytest.mark.parametrize(("wanted", "gone"), PRUNED)
def test_network_prune(api: Api, wanted: Wanted, gone: str) -> None:
    for name, labels in (("a", {"tier": "db"}), ("b", {})):
        api.call("POST", "/networks/create", {"Name": name, "Labels": labels})
    networks = api.engine.networks
    now = api.engine.containers.find(api.create("c")).created_ns  # the fake's networks are as old as the epoch
    networks.views = [replace(view, network=replace(view.network, created_ns=now)) for view in networks.views]
    _, answer = api.call("POST", "/networks/prune", filters=wanted)
    assert isinstance(answer, dict) and (answer["NetworksDeleted"] or []) == gone.split()


@pytest.mark.parametrize(("texts", "message"), UNTIL)
def test_malformed_until(api: Api, texts: list[str], message: str) -> None:
    """Images' errors aren't marked as the user's there."""
    for path, status in (("/containers/prune", 400), ("/networks/prune", 400), ("/images/prune", 500)):
        assert api.message("POST", path, filters={"until": texts}) == (status, message)
    if len(texts) == 1:
        assert api.message("GET", "/images/json", filters={"until": texts}) == (500, message)


# -- images

CHILD = ImageId("sha256:" + "e" * 64)


@pytest.fixture
def family(api: Api) -> Api:
    """busybox without a name, and an image that was made from it a moment later."""
    parent = replace(fake_image(()), digests=())
    config = replace(parent.config, id=CHILD)
    tags = ("app:1", "team/app:2", "localhost:5000/a/b:1")
    child = replace(fake_image(tags), config=config, parent=BUSYBOX, created_ns=parent.created_ns + 1)
    api.engine.images.records = [parent, child]
    return api


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"before": ["app:1"]}, "parent"),
        ({"before": ["app:1", BUSYBOX]}, ""),
        ({"since": [BUSYBOX]}, "child"),
        ({"since": ["app:1"]}, ""),
        ({"dangling": ["false"]}, "child"),
        ({"dangling": ["1"]}, ""),  # a step on the way is none
        ({"label": ["made=here"]}, "child parent"),
        ({"label": ["made", "absent"]}, ""),
        ({"reference": ["app"]}, "app:1"),
        ({"reference": ["app:*", "busybox"]}, "app:1 busybox@"),
        ({"reference": ["*/app"]}, "team/app:2"),
        ({"reference": ["localhost:5000/**/b"]}, "localhost:5000/a/b:1"),
        ({"reference": ["[a-c]pp:[^2]"]}, "app:1"),
        ({"reference": ["a*"]}, "app:1"),
        ({"reference": ["x"]}, ""),
        ({"until": ["1"]}, ""),
        ({"until": ["1s"]}, "child parent"),
        ({"until": ["1s", "1"]}, ""),
    ],
)
def test_images(family: Api, wanted: Wanted, found: str) -> None:
    _, listed = family.call("GET", "/images/json", all=1, filters=wanted)
    assert isinstance(listed, list)
    if "reference" in wanted:
        shown = [name for image in listed for name in image["RepoTags"] + image["RepoDigests"]]
        assert [name.partition("sha256")[0] for name in shown] == found.split()
    else:
        assert [{BUSYBOX: "parent", CHILD: "child"}[image["Id"]] for image in listed] == found.split()


@pytest.mark.parametrize(
    ("wanted", "status", "message"),
    [
        ({"before": ["nosuch"]}, 404, "No such image: nosuch"),
        ({"since": ["nosuch"]}, 404, "No such image: nosuch"),
        ({"since": ["nosuch"], "label": ["of=none"]}, 404, "No such image: nosuch"),
        ({"dangling": ["yes"]}, 400, "invalid filter 'dangling=[yes]'"),
        ({"reference": ["[a"]}, 500, "syntax error in pattern"),
    ],
)
def test_malformed_values_of_images(api: Api, wanted: Wanted, status: int, message: str) -> None:
    assert api.message("GET", "/images/json", filters=wanted) == (status, message)


@pytest.mark.parametrize(
    ("wanted", "is_gone"),
    [
        ({"dangling": ["true"]}, False),
        ({"dangling": ["false"]}, True),
        ({"dangling": ["false"], "label": ["made"]}, True),
        ({"dangling": ["false"], "label": ["made=there"]}, False),
        ({"dangling": ["false"], "label!": ["made=here"]}, False),
        ({"dangling": ["false"], "until": ["2000-01-01"]}, False),
        ({"dangling": ["false"], "until": ["1h"]}, True),
    ],
)
def test_image_prune(api: Api, wanted: Wanted, is_gone: bool) -> None:
    _, answer = api.call("POST", "/images/prune", filters=wanted)
    assert isinstance(answer, dict) and bool(answer["ImagesDeleted"]) == is_gone
    assert api.message("POST", "/images/prune", filters={"dangling": ["x"]}) == (400, "invalid filter 'dangling=[x]'")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"stars": ["3"]}, "redis"),
        ({"stars": ["1", "5"]}, "redis"),
        ({"stars": ["6"]}, ""),
        ({"is-official": ["true"]}, "redis"),
        ({"is-official": ["false"]}, "ann/redis"),
        ({"is-automated": ["true"]}, ""),
        ({"is-automated": ["false"]}, "redis ann/redis"),
    ],
)
def test_search(api: Api, wanted: Wanted, found: str) -> None:
    _, listed = api.call("GET", "/images/search", term="redis", filters=wanted)
    assert isinstance(listed, list) and [item["name"] for item in listed] == found.split()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"stars": ["x"]}, "invalid filter 'stars=x': strconv.Atoi: parsing \"x\": invalid syntax"),
        ({"is-official": ["x"]}, "invalid filter 'is-official=[x]'"),
        ({"is-automated": ["T"]}, "invalid filter 'is-automated=[T]'"),
    ],
)
def test_malformed_values_of_a_search(api: Api, wanted: Wanted, message: str) -> None:
    assert api.message("GET", "/images/search", term="a", filters=wanted) == (400, message)


# -- volumes and networks


@pytest.fixture
def volumes(api: Api) -> Api:
    """`cache`, which a container uses, `data` with a label, and one without a name (aaa…)."""
    api.call("POST", "/volumes/create", {"Name": "cache"})
    api.call("POST", "/volumes/create", {"Name": "data", "Labels": {"tier": "db"}})
    api.call("POST", "/volumes/create", {})
    user = api.engine.containers.find(api.create("web"))
    mounted = MountPoint(MountType.VOLUME, "/data", "", name="cache")
    api.engine.containers.records[user.id] = replace(user, mount_points=(mounted,))
    return api


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"dangling": ["true"]}, "data anonymous"),
        ({"dangling": ["0"]}, "cache"),
        ({"driver": ["local"]}, "cache data anonymous"),
        ({"driver": ["nfs"]}, ""),
        ({"driver": ["nfs", "local"], "label": ["tier=db"]}, "data"),
        ({"label": ["tier"]}, "data"),
        ({"label": ["tier=web"]}, ""),
        ({"name": ["^ca"]}, "cache"),
        ({"name": ["dat", "ach"]}, "cache data"),
        ({"name": ["^ata$"]}, ""),
    ],
)
def test_volumes(volumes: Api, wanted: Wanted, found: str) -> None:
    _, listed = volumes.call("GET", "/volumes", filters=wanted)
    assert isinstance(listed, dict)
    assert [one["Name"].replace("a" * 64, "anonymous") for one in listed["Volumes"]] == found.split()
    assert volumes.message("GET", "/volumes", filters={"dangling": ["x"]}) == (400, "invalid filter 'dangling=[x]'")


@pytest.mark.parametrize(
    ("wanted", "gone"),
    [
        ({}, "anonymous"),
        ({"all": ["true"]}, "cache data anonymous"),  # that it is in use is the engine's to know
        ({"all": ["T"], "label": ["tier=db"]}, "data"),
        ({"all": ["1"], "label!": ["tier"]}, "cache anonymous"),
        ({"all": ["false"]}, "anonymous"),
        ({"label": ["tier"]}, ""),
    ],
)
def test_volume_prune(volumes: Api, wanted: Wanted, gone: str) -> None:
    _, answer = volumes.call("POST", "/volumes/prune", filters=wanted)
    assert isinstance(answer, dict)
    assert [name.replace("a" * 64, "anonymous") for name in answer["VolumesDeleted"]] == gone.split()


def test_malformed_values_of_a_volume_prune(api: Api) -> None:
    words = "invalid filter 'all': strconv.ParseBool: parsing \"x\": invalid syntax"
    assert api.message("POST", "/volumes/prune", filters={"all": ["x"]}) == (400, words)
    words = "invalid filter 'all=[1 0]': only one value is expected"
    assert api.message("POST", "/volumes/prune", filters={"all": ["1", "0"]}) == (400, words)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"dangling": ["true"]}, "back"),
        ({"dangling": ["0"]}, "bridge none"),
        ({"driver": ["null"]}, "none"),
        ({"driver": ["null", "bridge"]}, "bridge none back"),
        ({"driver": ["overlay"]}, ""),
        ({"id": ["^f"]}, "bridge"),
        ({"id": ["ffff", "^0{64}$"]}, "bridge none"),
        ({"id": ["x"]}, ""),
        ({"label": ["tier=db"]}, "back"),
        ({"label": ["tier=web"]}, ""),
        ({"name": ["b"]}, "bridge back"),
        ({"name": ["^b.*k$"]}, "back"),
        ({"name": ["("]}, ""),
        ({"scope": ["local"]}, "bridge none back"),
        ({"scope": ["swarm"]}, ""),
        ({"type": ["custom"]}, "back"),
        ({"type": ["builtin"]}, "bridge none"),
        ({"type": ["builtin", "custom"], "name": ["n"]}, "none"),
    ],
)
def test_networks(api: Api, wanted: Wanted, found: str) -> None:
    api.call("POST", "/networks/create", {"Name": "back", "Labels": {"tier": "db"}})
    _, listed = api.call("GET", "/networks", filters=wanted)
    assert isinstance(listed, list) and [one["Name"] for one in listed] == found.split()


@pytest.mark.parametrize(
    ("wanted", "status", "message"),
    [
        ({"type": ["odd"]}, 500, "invalid filter: 'type'='odd'"),
        ({"dangling": ["1", "true"]}, 400, 'got more than one value for filter key "dangling"'),
        (
            {"dangling": ["yes"]}, 400,
            "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")",
        ),
    ],
)  # fmt: skip
def test_malformed_values_of_networks(api: Api, wanted: Wanted, status: int, message: str) -> None:
    assert api.message("GET", "/networks", filters=wanted) == (status, message)


def test_plugins(api: Api) -> None:
    assert api.call("GET", "/plugins", filters={"enabled": ["true"], "capability": ["volumedriver"]}) == (200, [])
    assert api.message("GET", "/plugins", filters={"enabled": ["x"]}) == (400, "invalid filter 'enabled=[x]'")


# -- events


@pytest.mark.parametrize(
    ("wanted", "kinds"),
    [
        ({}, "container image"),
        ({"type": ["image"]}, "image"),
        ({"type": ["image", "container"]}, "container image"),
        ({"type": ["imag"]}, ""),
        ({"event": ["start"]}, "container"),
        ({"event": ["star"]}, ""),
        ({"event": ["health_status", "star"]}, "container"),
        ({"container": ["web"]}, "container"),
        ({"container": ["aaaa"]}, "container"),
        ({"container": ["other"]}, ""),
        ({"container": ["we"], "event": ["start", "stop"]}, "container"),
        ({"container": ["web"], "network": ["bridge"]}, ""),
        *(({kind: ["x"]}, "") for kind in "config daemon network node plugin secret service volume".split()),
        ({"image": ["busybox"]}, "container image"),
        ({"image": ["busybox:1"]}, "container image"),
        ({"image": ["busybox:2"]}, ""),
        ({"label": ["tier=db"]}, "container"),
        ({"label": ["tier", "absent"]}, ""),
        ({"scope": ["swarm"]}, ""),
        ({"scope": ["local", "swarm"]}, "container image"),
        ({"flavour": ["sweet"]}, "container image"),  # what it doesn't know, dockerd lets pass here
    ],
)
def test_events(api: Api, wanted: Wanted, kinds: str) -> None:
    answer = api.ask("GET", f"/events?until=10&filters={quote(json.dumps(wanted))}")
    assert [json.loads(line)["Type"] for line in answer.read().splitlines()] == kinds.split()


# -- Go's patterns


@pytest.mark.parametrize(
    ("expression", "text", "is_found"),
    [
        ("b.b", "bob", True), ("^b", "ab", False), ("[[:digit:]]+$", "a12", True), (r"\d", "٣", False),
        (r"a\z", "a", True), ("*", "*", False), ("a{2,1}", "aa", False),
    ],
)  # fmt: skip
def test_expressions(expression: str, text: str, is_found: bool) -> None:
    assert bool(find_expression(expression)(text)) == is_found


@pytest.mark.parametrize(
    ("glob", "text", "matches"),
    [
        ("*", "a", True), ("*", "a/b", False), ("a/**", "a/b", True), ("**", "a/b", False),
        ("a?c", "abc", True), ("a?c", "a/c", False), (r"\*\*", "**", True), ("[^b]", "a", True),
    ],
)  # fmt: skip
def test_globs(glob: str, text: str, matches: bool) -> None:
    assert bool(match_glob(glob)(text)) == matches
