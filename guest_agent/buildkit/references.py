"""A job's result as the input of another job: bake's `target:` contexts. Pure.

buildx takes a result for a definition (LLB), the graph that BuildKit's front ends make, and hands it over as it got it.
So one that names the result is enough: an operation whose source is the image, and the end, whose input that is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from guest_agent.buildkit.messages import Definition, DefinitionEntry, Input, Operation, OperationNote, Source
from guest_agent.buildkit.named_contexts import IMAGE
from guest_agent.rpc.protobuf import ProtobufError, decode, encode
from guest_agent.wire.errors import InvalidArgument

_INPUT = "input:"


def define(image: str) -> Definition:
    """What stands for the result of this id."""
    source = encode(Operation(source=Source(f"{IMAGE}{image}")))
    digest = f"sha256:{hashlib.sha256(source).hexdigest()}"
    return Definition((source, encode(Operation(inputs=(Input(digest),)))), (OperationNote(digest),))


def resolve(attributes: Mapping[str, str], inputs: tuple[DefinitionEntry, ...]) -> dict[str, str]:
    """The attributes with images in the place of contexts that are inputs. Raises InvalidArgument."""
    known = {one.key: one.value for one in inputs}
    contexts = {name: _resolve_one(value, known) for name, value in attributes.items() if name.startswith("context:")}
    return {**attributes, **contexts}


def _resolve_one(value: str, inputs: Mapping[str, Definition | None]) -> str:
    if not value.startswith(_INPUT):
        return value
    definition = inputs.get(value.removeprefix(_INPUT))
    if definition is None:
        raise InvalidArgument(f"invalid input {value}")
    try:
        operations = [decode(Operation, data) for data in definition.operations]
    except ProtobufError as error:
        raise InvalidArgument(f"invalid input {value}: {error}") from error
    found = next((one.source.identifier for one in operations if one.source is not None), "")
    if not found.startswith(IMAGE):
        raise InvalidArgument(f"the input {value} is no result of a build of this engine's")
    return found
