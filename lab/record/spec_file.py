"""Spec files: YAML read to a checked `StudySpec`, with what the command line sets, and written back."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from lab.errors import SpecError
from lab.spec.plan import TaskRef
from lab.spec.study import StudySpec, parse_spec
from lab.tasks.builtin import BUILTIN, rooted


def read_spec(path: Path, overrides: Mapping[str, Any] | None = None) -> StudySpec:
    """A spec file, with `section.key` overrides applied before it is checked.

    Raises:
        SpecError: missing, empty, a directory, broken YAML (line and column), or not a study.
    """
    if path.is_dir():
        raise SpecError(str(path), "is a directory, not a spec file")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(str(path), "does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(str(path), f"cannot be read ({error})") from None
    value = load_yaml(text, str(path))
    if value is None:
        raise SpecError(str(path), "is empty")
    if not isinstance(value, dict):
        raise SpecError(str(path), f"holds {_shown(value)}, not a mapping of a study's settings")
    for key, new in (overrides or {}).items():
        _override(value, key, new)
    _root_overrides(value, overrides or {})
    spec = parse_spec(value)
    return spec.model_copy(update={"task": _rooted(spec.task, path.resolve().parent)})


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _rooted(task: TaskRef, folder: Path) -> TaskRef:
    """A task's file and data are looked for beside the spec that names them."""
    if task.kind not in BUILTIN:
        return replace(task, root=str(folder / task.root))
    return replace(task, options={**task.options, **rooted(task.kind, task.options, folder)})


def _override(value: dict[str, Any], key: str, new: Any) -> None:
    *sections, last = key.split(".")
    if sections[:1] == ["task"] and isinstance(value.get("task"), str):
        value["task"] = {"kind": value["task"]}
    for section in sections:
        value = value.setdefault(section, {})
        if not isinstance(value, dict):
            raise SpecError(key, f"'{section}' is not a section")
    value[last] = new


def _root_overrides(value: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    """A path given on the command line is looked for where the command was given."""
    task = value.get("task")
    if isinstance(task, dict):
        overridden = {name: v for name, v in task.items() if f"task.{name}" in overrides}
        task.update(rooted(str(task.get("kind")), overridden, Path.cwd()))
        if isinstance(overridden.get("root"), str):
            task["root"] = str(Path.cwd() / overridden["root"])


def parse_override(text: str) -> tuple[str, Any]:
    """`section.key=value` of the command line, the value as YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise SpecError("--set", f"{text!r} is not of the form key=value")
    return key.strip(), load_yaml(value, f"--set {key}")


def load_yaml(text: str, source: str) -> Any:
    """YAML 1.2 (so `1e-3` is a number and `on` a word), as plain values."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise SpecError(source, f"broken YAML: {where}{error.problem}") from None
    except YAMLError as error:
        raise SpecError(source, f"broken YAML: {' '.join(str(error).split())}") from None
    except (ValueError, KeyError, RecursionError) as error:  # a date or a tagged scalar that is none
        raise SpecError(source, f"broken YAML: {error}") from None


def dump_spec(spec: StudySpec) -> str:
    """A spec as YAML that `read_spec` reads back to the same."""
    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.width = 4096  # a key folded over two lines could not be read back
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(spec.model_dump(mode="json"), stream)
    return stream.getvalue()
