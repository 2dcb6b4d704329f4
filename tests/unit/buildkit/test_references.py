"""A job's result as the input of another one, by way of a client that takes it for a definition."""

from __future__ import annotations

import hashlib

import pytest

from guest_agent.buildkit.messages import Definition, DefinitionEntry, Operation, Source
from guest_agent.buildkit.references import define, resolve
from guest_agent.rpc.protobuf import decode, encode
from guest_agent.wire.errors import InvalidArgument
from tests.unit.buildkit.pretended import IMAGE


def test_a_definition_is_what_buildx_expects_of_one() -> None:
    """The last operation's input is the result, whose digest has a note (llb.NewDefinitionOp of BuildKit)."""
    definition = decode(Definition, encode(define(IMAGE)))
    digests = [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in definition.operations]
    end = decode(Operation, definition.operations[-1])
    assert end.inputs[0].digest == definition.notes[0].digest == digests[0]


def test_it_comes_back_as_a_context() -> None:
    attributes = {"context:base": "input:base", "context:more": "local:more", "target": "input:base"}
    resolved = resolve(attributes, (DefinitionEntry("base", define(IMAGE)),))
    assert resolved == {**attributes, "context:base": f"docker-image://{IMAGE}"}


@pytest.mark.parametrize(
    "definition",
    [None, Definition(), Definition((b"\xff",)), Definition((encode(Operation(source=Source("git://x"))),))],
)
def test_definitions_of_others(definition: Definition | None) -> None:
    with pytest.raises(InvalidArgument, match="input:base"):
        resolve({"context:base": "input:base"}, (DefinitionEntry("base", definition),))
