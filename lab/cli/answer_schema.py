"""The JSON schema of what a command answers with `--json`, made of the dataclass that is printed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter

from lab.cli.answers import ANSWERS, FLAT, OMITTED
from lab.errors import SpecError, nearest
from lab.study.schema import DIALECT, meanings


def answer_schema(command: str) -> dict[str, Any]:
    """The schema of a command's answer, in JSON Schema 2020-12.

    Raises:
        SpecError: no such command answers.

    >>> answer_schema("study list")["required"]
    ['studies']
    """
    if command not in ANSWERS:
        raise SpecError(
            "--of", f"{command!r} is unknown{nearest(command, ANSWERS)}; choices: spec, {', '.join(ANSWERS)}"
        )
    module, _, name = ANSWERS[command].partition(":")
    answer = getattr(importlib.import_module(module), name)
    schema = _open_to_null(TypeAdapter(answer).json_schema())
    definitions = schema.get("$defs", {})
    for cls in dict.fromkeys(_parts(answer)):
        _describe(cls, schema if cls is answer else definitions[cls.__name__])
    title = f"What lab {command} answers with --json"
    return {"$schema": DIALECT, **{k: v for k, v in schema.items() if k != "title"}, "title": title}


def _parts(kind: Any) -> Iterator[type]:
    """The dataclasses that a type is made of."""
    if is_dataclass(kind):
        assert isinstance(kind, type)
        yield kind
        for hint in get_type_hints(kind).values():
            yield from _parts(hint)
    for inner in get_args(kind):
        yield from _parts(inner)


def _describe(cls: Any, schema: dict[str, Any]) -> None:
    """Say of an object what its dataclass says of its fields, and that it has them all and no others."""
    properties, said = schema["properties"], meanings(cls)
    schema["description"] = (cls.__doc__ or "").strip().partition("\n")[0]
    schema["additionalProperties"] = False
    schema["required"] = []
    for entry in fields(cls):
        properties[entry.name].pop("default", None)
        properties[entry.name].pop("title", None)
        if entry.name in said:
            properties[entry.name]["description"] = said[entry.name]
        if entry.metadata.get(FLAT):
            schema["additionalProperties"] = properties.pop(entry.name)["additionalProperties"]
        elif not entry.metadata.get(OMITTED):
            schema["required"].append(entry.name)


def _open_to_null(schema: Any) -> Any:
    """What is no finite number is null in JSON, wherever a number stands."""
    if isinstance(schema, list):
        return [_open_to_null(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {k: ["number", "null"] if (k, v) == ("type", "number") else _open_to_null(v) for k, v in schema.items()}
