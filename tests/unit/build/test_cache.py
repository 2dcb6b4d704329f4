"""The cache's records and the layers that it holds; the order of what stages say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from guest_agent.build.cache import BuildCache
from guest_agent.build.snapshots import Snapshot, StepResult
from guest_agent.build.state import StageState
from guest_agent.build.variables import Arguments
from guest_agent.engine.build_output import BuildOutput
from guest_agent.store.records import Records
from guest_agent.wire.errors import HostFailed
from guest_agent.wire.models import ContainerConfig, DiffId
from tests.unit.store.full_disk import full_disk


class Layers:
    """Which layers there are, each of ten bytes, and how often each is held."""

    def __init__(self, *known: str) -> None:
        self.known = set(known)
        self.held: Counter[str] = Counter()

    def hold(self, diff_id: DiffId) -> bool:
        self.held[diff_id] += diff_id in self.known
        return diff_id in self.known

    def let_go(self, diff_ids: Collection[DiffId]) -> None:
        self.held.subtract(diff_ids)

    def size(self, diff_id: DiffId) -> int:
        return 10 if diff_id in self.known else 0


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    records = Records(str(tmp_path / "db"), str(tmp_path / "aside"))
    yield records
    records.close()


def test_what_is_remembered_outlives_the_engine(records: Records) -> None:
    BuildCache(records, Layers("l")).remember({"k": StepResult("now", "l"), "m": StepResult("now")}, {"s": "digest"})
    layers = Layers("l")
    again = BuildCache(records, layers)
    assert again.find("k") == StepResult("now", "l") and again.find("m") == StepResult("now")
    assert again.source_digest("s") == "digest" and layers.held["l"] == 1


def test_digests_of_sources_are_bounded(records: Records) -> None:
    cache = BuildCache(records, Layers())
    cache.remember({}, {"first": "digest"})
    cache.remember({}, {str(number): "digest" for number in range(2000)})
    assert cache.source_digest("first") == "" and cache.source_digest("0") == "digest"
    assert len(list(records.items("build-source"))) == 2000
    with full_disk(records), pytest.raises(HostFailed):
        cache.drop_small()
    assert cache.source_digest("0") == "digest"
    cache.drop_small()
    assert not list(records.items("build-source")) and cache.source_digest("0") == ""


def test_a_step_whose_layer_is_gone_is_forgotten(records: Records) -> None:
    BuildCache(records, Layers("l")).remember({"k": StepResult("now", "l")}, {})
    assert BuildCache(records, Layers()).find("k") is None
    assert BuildCache(records, Layers("l")).find("k") is None


def test_each_step_holds_its_layer_once(records: Records) -> None:
    layers = Layers("l", "n")
    cache = BuildCache(records, layers)
    cache.remember({"k": StepResult("now", "l")}, {})
    cache.remember({"k": StepResult("later", "n"), "other": StepResult("now", "l")}, {})
    assert (layers.held["l"], layers.held["n"]) == (1, 1)
    assert cache.drop(["k", "other", "nosuch"]) == {"l", "n"}
    assert not +layers.held and len(cache) == 0 and not list(records.items("build"))


def test_a_step_is_listed_with_what_builds_made_of_it(records: Records) -> None:
    first, second, third = (letter * 64 for letter in "abc")
    cache = BuildCache(records, Layers("l", "n"))
    before = {first: StepResult("2024-01-01T00:00:00Z", "l", "RUN x"), "empty": StepResult("now")}
    cache.remember(before, {})
    cache.remember({**before, second: StepResult("now", "n", "RUN y", first)}, {})
    cache.remember({third: StepResult("now", "n", "RUN z", "gone")}, {})
    for known in (cache, BuildCache(records, Layers("l", "n"))):
        newest, *others = known.listed(in_images={DiffId("l")}, in_use={second})
        by_id = {record.id: record for record in others}
        step, base = by_id[second[:32]], by_id[first[:32]]
        assert (newest.id, newest.size, newest.parent) == (third[:32], 10, "")
        assert (step.size, step.uses, step.parent, step.in_use, step.shared) == (0, 1, base.id, True, False)
        assert (base.size, base.uses, base.description, base.in_use, base.shared) == (10, 2, "RUN x", False, True)
        assert newest.used_ns > step.used_ns == base.used_ns > 0 and base.created == "2024-01-01T00:00:00Z"


def test_a_step_that_was_made_anew_begins_to_count_anew(records: Records) -> None:
    cache = BuildCache(records, Layers("l", "n"))
    for layer, description in (("l", ""), ("l", "RUN x"), ("n", "RUN x")):
        cache.remember({"k": StepResult("now", layer, description)}, {})
        [record] = cache.listed((), ())
        assert (record.description, record.uses) == (description, 2 if (layer, description) == ("l", "RUN x") else 1)


def test_records_of_an_older_engine_are_read(records: Records) -> None:
    records.put("build", "k", '{"created": "now", "diff_id": "l", "used": 5}')
    [record] = BuildCache(records, Layers("l")).listed((), ())
    assert (record.id, record.used_ns, record.uses, record.description, record.parent) == ("k", 5, 0, "", "")


def test_a_key_knows_everything_before_it() -> None:
    start = Snapshot("base", StageState(ContainerConfig(), Arguments({}, {})))
    key = start.next_key("RUN x")
    after = start.after(key, ("RUN", "x"), StepResult("now", "l"))
    assert after.key != start.after(key, ("RUN", "x"), StepResult("now", "other")).key, "built on another layer"
    assert after.key == start.after(key, ("RUN", "x"), StepResult("later", "l")).key, "times don't count"
    assert (after.diff_ids, after.history[0].empty_layer, after.created) == (("l",), False, "now")
    assert start.after(key, ("ENV",), StepResult("now")).history[0].empty_layer
    assert (after.made_by, after.after("other", ("ENV",), StepResult("now")).made_by) == (key, key)


def test_stages_speak_in_the_dockerfiles_order() -> None:
    said: list[str] = []
    output = BuildOutput(lambda report: said.append(str(report["stream"])), [0, 1, 2], quiet=False)
    for stage, text in ((1, "b1"), (0, "a1"), (2, "c1")):
        output.say(stage, text)
    output.finish(1)
    output.say(0, "a2")
    output.finish(0)
    output.say(2, "c2")
    assert said == ["a1", "a2", "b1", "c1", "c2"]


def test_of_a_waiting_stage_the_newest_is_kept() -> None:
    said: list[str] = []
    output = BuildOutput(lambda report: said.append(str(report["stream"])), [0, 1], quiet=False)
    for number in range(200):
        output.say(1, f"{number}".rjust(1 << 16))
    output.finish(0)
    assert said[-1].strip() == "199" and (1 << 20) < sum(map(len, said)) < (5 << 20)


def test_what_failed_is_shown_although_it_isnt_its_turn() -> None:
    said: list[str] = []
    output = BuildOutput(lambda report: said.append(str(report["stream"])), [0, 1], quiet=False)
    output.say(0, "a")
    output.say(1, "b")
    output.fail(1)
    assert said == ["a", "b"]


def test_a_quiet_build_tells_all_once_it_has_failed() -> None:
    """dockerd keeps what it would have said: who builds by a script wants to know why it doesn't work."""
    said: list[str] = []
    output = BuildOutput(lambda report: said.append(str(report["stream"])), [0, 1, 2], quiet=True)
    for stage, text in ((1, "b"), (0, "a"), (2, "c")):
        output.say(stage, text)
    output.finish(0)
    assert said == []
    output.fail(2)
    assert said == ["a", "b", "c"]
