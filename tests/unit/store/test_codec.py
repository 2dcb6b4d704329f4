"""Records: everything that is stored comes back, and what doesn't fit is a ValueError and nothing else."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guest_agent.engine.container import Container, State, Status
from guest_agent.store.codec import from_plain, to_plain
from guest_agent.store.documents import parse_document, render_document
from guest_agent.wire.models import ContainerConfig, HostConfig, ImageConfig, RestartCondition
from guest_agent.wire.mounts import MountType, Volume

#: Whatever JSON can hold; a surrogate can't be stored by SQLite either.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
st.register_type_strategy(str, TEXT)

STORED = (Container, ImageConfig, Volume)


def stored_forms(cls: type) -> st.SearchStrategy[Any]:
    return st.builds(cls, **{field.name: st.from_type(hint) for field, hint in hinted_fields(cls)})


def hinted_fields(cls: type) -> list[tuple[Any, Any]]:
    hints = typing.get_type_hints(cls)
    return [(field, hints[field.name]) for field in dataclasses.fields(cls)]


@pytest.mark.parametrize("cls", STORED)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_record_comes_back_as_it_was(cls: type, data: st.DataObject) -> None:
    record = data.draw(stored_forms(cls))
    assert from_plain(cls, parse_document(render_document(to_plain(record)))) == record


def test_defaults_take_no_space() -> None:
    assert to_plain(HostConfig()) == {}
    assert to_plain(State(exit_code=3)) == {"exit_code": 3}
    assert to_plain(ContainerConfig(command=(), labels={"a": "b"})) == {"command": [], "labels": {"a": "b"}}


def test_unknown_fields_are_a_newer_engines_and_are_ignored() -> None:
    assert from_plain(State, {"status": "running", "colour": "green"}) == State(Status.RUNNING)


def test_missing_fields_take_their_default_or_are_an_error() -> None:
    assert from_plain(Volume, {"name": "v", "mountpoint": "/v", "created_ns": 5}) == Volume("v", "/v", 5)
    with pytest.raises(ValueError, match="mountpoint"):
        from_plain(Volume, {"name": "v", "created_ns": 5})


def test_nothing_said_differs_from_an_empty_list() -> None:
    """`command` None lets the image's apply, () clears it: the difference must survive."""
    assert from_plain(ContainerConfig, to_plain(ContainerConfig(command=None))).command is None
    assert from_plain(ContainerConfig, to_plain(ContainerConfig(command=()))).command == ()


@pytest.mark.parametrize(
    ("cls", "plain"),
    [
        (State, []),
        (State, None),
        (State, {"pid": "7"}),
        (State, {"status": "flying"}),
        (State, {"status": []}),
        (ContainerConfig, {"labels": ["a"]}),
        (ContainerConfig, {"labels": {"a": 5}}),
        (ContainerConfig, {"command": "ls"}),
        (HostConfig, {"console_size": [1, 2, 3]}),
        (HostConfig, {"resources": "all"}),
        (HostConfig, {"mounts": [{"type": "bind"}]}),
    ],
)
def test_what_does_not_fit_is_a_value_error(cls: type, plain: object) -> None:
    with pytest.raises(ValueError):
        from_plain(cls, plain)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([State, HostConfig, ContainerConfig, Volume]), st.data())
def test_any_json_decodes_or_is_a_value_error(cls: type, data: st.DataObject) -> None:
    """The table sets a record aside for a ValueError; anything else would keep the engine from starting."""
    names = [field.name for field in dataclasses.fields(cls)]
    plain = data.draw(st.dictionaries(st.sampled_from(names), JSON, max_size=4))
    try:
        record: object = from_plain(cls, plain)
    except ValueError:
        return
    assert isinstance(record, cls)


def test_vocabularies_are_stored_by_their_words() -> None:
    assert to_plain(MountType.TMPFS) == "tmpfs"
    assert to_plain({"policy": RestartCondition.UNLESS_STOPPED}) == {"policy": "unless-stopped"}
