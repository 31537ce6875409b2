"""Spec files: YAML read to a checked `StudySpec`, with what the command line sets, and written back."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from lab.errors import SpecError
from lab.record.folder import read_bytes
from lab.spec.plain_values import MOST, check_values, shown
from lab.spec.plan import TaskRef, dump_task
from lab.spec.study import StudySpec, parse_spec
from lab.tasks.builtin import BUILTIN, rooted

_MOST_BYTES = 2**20
_OPENING = re.compile(r"(?:[\[{?-]\s*){100,}")
"""A run of what opens lists and mappings."""
_MOST_OPEN = 500


def read_spec(path: Path, overrides: Mapping[str, Any] | None = None) -> StudySpec:
    """A spec file, with `section.key` overrides applied before it is checked.

    Raises:
        SpecError: missing, empty, a directory, broken YAML (line and column), or not a study.
    """
    if path.is_dir():
        raise SpecError(str(path), "is a directory, not a spec file")
    try:
        text = read_bytes(path, _MOST_BYTES).decode()
    except FileNotFoundError:
        raise SpecError(str(path), "does not exist") from None
    except OSError as error:
        raise SpecError(str(path), f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise SpecError(str(path), f"cannot be read (byte {error.start} is no UTF-8)") from None
    value = load_yaml(text, str(path))
    if value is None:
        raise SpecError(str(path), "is empty")
    if not isinstance(value, dict):
        raise SpecError(str(path), f"holds {shown(value)}, not a mapping of a study's settings")
    for key, new in (overrides or {}).items():
        _override(value, key, new)
    _root_overrides(value, overrides or {})
    spec = parse_spec(value)
    task = _rooted(spec.task, path.resolve().parent)
    check_values(dump_task(task), "task")  # the folder's name may be no UTF-8
    return spec.model_copy(update={"task": task})


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
    """YAML 1.2 (so `1e-3` is a number and `on` a word), as plain values.

    Raises:
        SpecError: it is broken, holds itself, or stands for more than anybody writes.
    """
    if len(text) > _MOST_BYTES:
        raise SpecError(source, f"is larger than {_MOST_BYTES >> 20} MiB")
    if any(len(run) > _MOST_OPEN for run in _OPENING.findall(text)):  # it takes the scanner seconds to come to see it
        raise SpecError(source, "broken YAML: it is nested too deep")
    try:
        constructor, parser = YAML(typ="safe", pure=True).get_constructor_parser(text)
        try:
            node = constructor.composer.get_single_node()
            if node is None:
                return None
            _count(node, source, {})
            return constructor.construct_document(node)
        finally:
            parser.dispose()
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise SpecError(source, f"broken YAML: {where}{error.problem}") from None
    except YAMLError as error:
        raise SpecError(source, f"broken YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise SpecError(source, "broken YAML: it is nested too deep") from None
    except (ValueError, KeyError, AttributeError, TypeError) as error:  # a date, a tagged scalar or a key that is none
        raise SpecError(source, f"broken YAML: {error}") from None


def _count(node: Node, source: str, counts: dict[int, int | None]) -> int:
    """The values that a node stands for. What an alias stands for is counted again and looked at once.

    To construct them first would fill the memory where keys are merged.
    """
    counted = counts.get(id(node), 0)
    if counted is None:
        raise SpecError(source, f"broken YAML: line {node.start_mark.line + 1}: '&{node.anchor}' holds itself")
    if counted:
        return counted
    counts[id(node)] = None  # until it is known: whoever comes here again comes from inside it
    inner: list[Node] = []
    if isinstance(node, MappingNode):
        inner = [part for pair in node.value for part in pair]
    elif isinstance(node, SequenceNode):
        inner = node.value
    total = 1 + sum(_count(part, source, counts) for part in inner)
    if total > MOST:
        raise SpecError(source, f"holds more than {MOST} values, counting what its aliases stand for")
    counts[id(node)] = total
    return total


def dump_spec(spec: StudySpec) -> str:
    """A spec as YAML that `read_spec` reads back to the same."""
    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.width = 4096  # a key folded over two lines could not be read back
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(spec.model_dump(mode="json"), stream)
    return stream.getvalue()
