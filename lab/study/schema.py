"""The JSON schema of a spec, for editors: made of the declarations that check it, so that it cannot fall behind them.

What depends on several values at once, or on the data, is left to `lab study check`.
"""

from __future__ import annotations

import ast
import inspect
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, get_type_hints

from pydantic import BaseModel, PydanticInvalidForJsonSchema, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from lab.plugins import registered
from lab.schedules import KINDS as SCHEDULES
from lab.schedules.base import Schedule
from lab.search.by_name import pruner_options, sampler_options
from lab.spec.budget import Budget
from lab.spec.optimizer import KINDS as OPTIMIZERS
from lab.spec.study import StudySpec
from lab.tasks.builtin import BUILTIN
from lab.tasks.options import METRIC, PATH, Options

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VALUE = {"type": ["number", "string", "boolean"]}
_WHEN = {"type": "object", "description": "Other hyperparameters, and the values of theirs at which this one exists."}
_PRESET = {"type": "string", "description": "Constants of a library or a paper."}


def spec_schema() -> dict[str, Any]:
    """The schema of a study's YAML file, in JSON Schema 2020-12.

    >>> from lab.study.schema import spec_schema
    >>> spec_schema()["required"]
    ['name', 'task', 'space']
    """
    schema = StudySpec.model_json_schema(schema_generator=_Generator)
    definitions, properties = schema.setdefault("$defs", {}), schema["properties"]
    for model in {StudySpec, *(f.annotation for f in StudySpec.model_fields.values())}:
        if isinstance(model, type) and issubclass(model, BaseModel):
            of_model = properties if model is StudySpec else definitions[model.__name__]["properties"]
            for name, meaning in meanings(model).items():
                of_model[name]["description"] = meaning
    properties["task"] = _task()
    properties["space"] = {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": _dimension(),
        "description": "The hyperparameters searched, and where.",
    }
    properties["optimizer"] = _by_kind({kind: _of_class(cls) for kind, cls in OPTIMIZERS.items()})
    limit = {"type": ["string", "number"], "description": meanings(Budget)["limit"]}
    properties["budget"] |= {"anyOf": [limit, {"type": "object"}, {"type": "null"}]}
    properties["schedule"] = _recipe()
    definitions.pop("Recipe", None)
    search = definitions["SearchSpec"]["properties"]
    search["trials"]["anyOf"] = [{"type": "integer", "minimum": 1, "maximum": 1_000_000}, {"const": "auto"}]
    for bound in ("type", "minimum", "maximum"):
        search["trials"].pop(bound, None)
    others: dict[str, dict[str, Any]] = {kind: {} for kind in registered("lab.samplers")}
    samplers = {kind: _any_of(names) for kind, names in sampler_options().items()} | others
    search["sampler"] = _by_kind(samplers, "^optuna:")
    search["pruner"] = _by_kind({kind: _any_of(names) for kind, names in pruner_options().items()}, "^optuna:")
    definitions["schedule"] = _by_kind(
        {kind: _schedule(cls) for kind, cls in SCHEDULES.items()} | {kind: {} for kind in registered("lab.schedules")}
    )
    return {"$schema": DIALECT, "title": "A study of lab", **{k: v for k, v in schema.items() if k != "title"}}


class _Generator(GenerateJsonSchema):
    """Pydantic's, which leaves open what a function of the spec's own parses."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - as its base declares it

    def handle_invalid_for_json_schema(self, schema: core_schema.CoreSchema, error_info: str) -> JsonSchemaValue:
        return {}


@cache
def meanings(cls: type) -> Mapping[str, str]:
    """What stands below each field of a class, in a line."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(tree, ast.ClassDef)
    docs = {}
    for entry, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name) and isinstance(below, ast.Expr):
            text = below.value.value if isinstance(below.value, ast.Constant) else None
            if isinstance(text, str):
                docs[entry.target.id] = " ".join(inspect.cleandoc(text).split())
    return docs


def _by_kind(kinds: Mapping[str, Mapping[str, Any]], further: str = "") -> dict[str, Any]:
    """A mapping whose `kind` says which other keys it may have; `further`: a pattern of kinds with any."""
    named: list[dict[str, Any]] = [{"enum": list(kinds)}, *([{"pattern": further}] if further else [])]
    return {
        "type": "object",
        "properties": {"kind": {"type": "string", "anyOf": named}},
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
                "then": {
                    **schema,
                    "properties": {"kind": True, **schema["properties"]},
                    "additionalProperties": False,
                },
            }
            for kind, schema in kinds.items()
            if "properties" in schema
        ],
    }


def _any_of(names: Sequence[str]) -> dict[str, Any]:
    return {"properties": dict.fromkeys(names, True)}


def _plain(annotation: Any) -> dict[str, Any]:
    """The schema of a type; anything, where there is none."""
    try:
        schema = TypeAdapter(annotation).json_schema()
    except (PydanticInvalidForJsonSchema, TypeError):
        return {}
    return {} if "$ref" in schema or "$defs" in schema else schema


def _of_class(cls: type[Any]) -> dict[str, Any]:
    """The fields of a dataclass, by their types."""
    hints = get_type_hints(cls)
    return {
        "properties": {field.name: _plain(hints[field.name]) for field in fields(cls)},
        "required": [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING],
    }


def _schedule(cls: type[Schedule]) -> dict[str, Any]:
    """A schedule as it stands in a recipe, where the trial fills in what is required, its max_lr above all."""
    described = dict(_of_class(cls)["properties"])
    inside: dict[str, Any] = {"schedule": {"$ref": "#/$defs/schedule"}}
    inside["parts"] = {"type": "array", "items": inside["schedule"]}
    described |= {name: schema for name, schema in inside.items() if name in described}
    presets = {"preset": {**_PRESET, "enum": list(cls.presets)}} if cls.presets else {}
    meaning = (inspect.getdoc(cls) or "").partition("\n")[0]
    return {"properties": {**described, **presets}, "description": meaning}


def _recipe() -> dict[str, Any]:
    of_cycles = {"one": "of trials of one cycle", "several": "of trials of several cycles"}
    schedules = {
        name: {"allOf": [{"$ref": "#/$defs/schedule"}], "description": f"The schedule {meaning}."}
        for name, meaning in of_cycles.items()
    }
    return {"type": "object", "properties": schedules, "additionalProperties": False}


def _dimension() -> dict[str, Any]:
    number, flag = {"type": "number"}, {"type": "boolean"}
    interval = {"low": number, "high": number, "log": flag, "int": flag}
    choice = {"choice": {"type": "array", "items": _VALUE, "minItems": 1, "uniqueItems": True}}
    from_bounds = {"from": {"const": "bounds", "description": "What the range test finds, for max_lr."}}
    kinds = ((interval, ["low", "high"]), (choice, ["choice"]), (from_bounds, ["from"]))
    return {
        "anyOf": [
            {
                "type": "object",
                "properties": {**keys, "when": _WHEN},
                "required": required,
                "additionalProperties": False,
            }
            for keys, required in kinds
        ]
    }


def _task() -> dict[str, Any]:
    """A kind, or a mapping with it: a task of one's own has any options, a built-in one those that it declares."""
    own = {"pattern": ":", "description": "FILE.py:NAME, or PACKAGE.MODULE:NAME"}
    kinds: list[dict[str, Any]] = [{"enum": [*BUILTIN, *registered("lab.tasks")]}, own]
    schema = _by_kind({kind: _options(builtin.options) for kind, builtin in BUILTIN.items()})
    schema["properties"]["kind"]["anyOf"] = kinds
    for condition, builtin in zip(schema["allOf"], BUILTIN.values(), strict=True):
        condition["then"]["description"] = builtin.summary
        condition["then"]["properties"]["root"] = {"type": "string"}
    return {"anyOf": [{"type": "string", "anyOf": kinds}, {**schema, "required": ["kind"]}]}


def _options(options: type[Options]) -> dict[str, Any]:
    """A task's options: each may be null, which stands for its default."""
    hints = get_type_hints(options)
    properties: dict[str, Any] = {}
    for name, entry in options.declared().items():
        schema = _plain(hints[name])
        low, high = entry.allowed.range
        if schema.get("type") in ("integer", "number") and not schema.keys() & {"anyOf"}:
            schema |= {"minimum": low} if math.isfinite(low) else {}
            schema |= {"exclusiveMaximum": high} if math.isfinite(high) else {}
        if entry.allowed in (PATH, METRIC):
            schema = {"type": "string"}
        if entry.allowed.choices:
            schema = {"enum": list(entry.allowed.choices)}
        if not options.requires(name) and schema:
            schema = {"anyOf": [schema, {"type": "null"}]}
        properties[name] = {**schema, "description": entry.meaning}
    return {"properties": properties, "required": [name for name in properties if options.requires(name)]}
