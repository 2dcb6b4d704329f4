"""The description as Docker wrote it (Swagger 2.0) -> operations with JSON schemas.

Three things are read as Docker's daemon means them. Go writes a slice, map or pointer that is nil as `null`, whatever
the description says, so that arrays and objects may be null, and a string that isn't set as "", also where it is one of
a few words; other values are null only where `x-nullable` allows it. And the log driver `local` isn't described, though
dockerd has had it since 18.09.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

Schema = dict[str, Any]
PATH = f"{os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}/data/docker-api/v1.44.yaml"


#: Pointers to numbers and flags in moby's types (api/types/container/hostconfig.go, api/types/backend) that aren't
#: described as such.
POINTERS = {"ExitCode", "MemorySwappiness", "OomKillDisable"}


@dataclass(frozen=True, slots=True)
class Operation:
    """`responses`: status -> the schema of its body, or None where it has none that is described."""

    method: str
    path: str
    responses: Mapping[int, Schema | None]


@dataclass(frozen=True, slots=True)
class Description:
    operations: tuple[tuple[re.Pattern[str], Operation], ...]
    definitions: Schema

    def find(self, method: str, path: str) -> Operation | None:
        """The operation of a path without its version prefix."""
        for pattern, operation in self.operations:
            if operation.method == method and pattern.fullmatch(path):
                return operation
        return None


@functools.cache
def load() -> Description:
    with open(PATH, encoding="utf-8") as file:
        document = yaml.load(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    definitions = document["definitions"]
    definitions["HostConfig"]["allOf"][1]["properties"]["LogConfig"]["properties"]["Type"]["enum"].append("local")
    found = [
        (_pattern(path), _operation(method.upper(), path, about, definitions))
        for path, methods in document["paths"].items()
        for method, about in methods.items()
    ]
    # What has fewer placeholders first: /containers/json isn't a container that is called json.
    found.sort(key=lambda pair: pair[1].path.count("{"))
    return Description(tuple(found), {name: convert(schema, definitions) for name, schema in definitions.items()})


def _pattern(path: str) -> re.Pattern[str]:
    """Names of images have slashes: a placeholder takes them."""
    return re.compile(re.sub(r"\\{\w+\\}", "(.+)", re.escape(path)))


def _operation(method: str, path: str, about: Schema, definitions: Schema) -> Operation:
    responses = {
        int(status): convert(response["schema"], definitions) if "schema" in response else None
        for status, response in about["responses"].items()
        if str(status).isdigit()
    }
    return Operation(method, path, responses)


def convert(schema: Schema, definitions: Schema) -> Schema:
    """Swagger's dialect -> JSON schema; references stay references to `#/definitions`."""
    if "$ref" in schema:
        reference = {"$ref": schema["$ref"]}
        return {"anyOf": [reference, {"type": "null"}]} if schema.get("x-nullable") else reference
    if "allOf" in schema:
        return convert(_merge(schema["allOf"], definitions), definitions)
    converted: Schema = {
        key: schema[key] for key in ("type", "enum", "required", "minimum", "maximum") if key in schema
    }
    if "enum" in converted:
        converted["enum"] = [*converted["enum"], ""]
    if "properties" in schema:
        converted["properties"] = {
            name: convert({**one, "x-nullable": True} if name in POINTERS else one, definitions)
            for name, one in schema["properties"].items()
        }
        converted.setdefault("type", "object")
    if isinstance(schema.get("additionalProperties"), dict):
        converted["additionalProperties"] = convert(schema["additionalProperties"], definitions)
    if "items" in schema:
        converted["items"] = convert(schema["items"], definitions)
    return _nullable(converted, bool(schema.get("x-nullable")))


def _merge(parts: list[Schema], definitions: Schema) -> Schema:
    """One object schema with the properties of all: only so can it be closed."""
    merged: Schema = {"type": "object", "properties": {}, "required": []}
    for part in parts:
        whole = definitions[part["$ref"].rpartition("/")[2]] if "$ref" in part else part
        whole = _merge(whole["allOf"], definitions) if "allOf" in whole else whole
        merged["properties"] |= whole.get("properties", {})
        merged["required"] += whole.get("required", [])
    return merged


def _nullable(schema: Schema, said: bool) -> Schema:
    kind = schema.get("type")
    if not said and kind not in ("object", "array"):
        return schema
    nullable = {**schema, "type": [kind, "null"]} if kind else schema
    return {**nullable, "enum": [*schema["enum"], None]} if "enum" in schema else nullable
