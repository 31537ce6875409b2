"""A spec's file: read as YAML 1.2, written so that it reads back the same."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.errors import SpecError
from lab.record.spec_file import dump_spec, load_yaml, parse_override, read_spec
from lab.spec.space import Choice, Float, FromBounds, Int, Space
from lab.spec.study import parse_spec

BASE: dict[str, Any] = {"name": "a", "task": "digits", "space": {"max_lr": {"low": 1e-4, "high": 1.0, "log": True}}}

words = st.one_of(
    st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=8),
    st.sampled_from(
        [
            "on",
            "a\nb\n",
            " \t",
            "off",
            "yes",
            "no",
            "null",
            "~",
            "1e-3",
            "0o7",
            "010",
            "1:30",
            "2024-01-01",
            "=",
            "<<",
            ".inf",
        ]
    ),
)
options = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), words)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    choices=st.lists(options, min_size=1, max_size=5, unique=True),
    low=st.floats(1e-300, 1e300),
    key=words.filter(lambda w: w not in ("max_lr", "b")),
    seed=st.integers(0, 2**32 - 1),
    note=words,
)
def test_what_is_dumped_reads_back_as_the_same(
    tmp_path: Path, choices: list[Any], low: float, key: str, seed: int, note: str
):
    space = Space(
        {
            key: Choice(tuple(choices)),
            "max_lr": Float(low, low * 2, log=True),
            "b": Int(1, 2**40, when={key: (choices[0],)}),
        }
    )
    sampler = {"kind": note, "x": low, "y": [None, True, note]}
    spec = parse_spec({**BASE, "space": space, "seed": seed, "search": {"sampler": sampler}, "storage": note})
    path = tmp_path / "study.yaml"
    path.write_text(dump_spec(spec), encoding="utf-8")
    again = read_spec(path)
    assert again == spec
    assert list(again.space) == list(space), "the order of the dimensions is the order in which they are drawn"
    assert [type(o) for o in again.space[key].options] == [type(o) for o in choices]
    assert again.what() == spec.what()


def test_yaml_is_read_as_1_2():
    text = "a: 1e-3\nb: on\nc: no\nd: 0o7\ne: 1_000\nf: 010\ng: 1:30"
    assert load_yaml(text, "f") == {"a": 0.001, "b": "on", "c": "no", "d": 7, "e": 1000, "f": 10, "g": "1:30"}


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: 1\na: 2",
        "a: 2024-99-99",
        "a: !!int x",
        "a: !!bool x",
        "{{a: 1}: 2}",
        "a: !!python/object:os.system x",
        "---\na\n---\nb",
        "a: \x00",
        "*x",
        "\t- a",
        "[" * 5000,
    ],
)
def test_broken_yaml_is_refused_in_one_line(text: str):
    with pytest.raises(SpecError, match=r"^study\.yaml: broken YAML: ") as caught:
        load_yaml(text, "study.yaml")
    assert "\n" not in str(caught.value)


def test_broken_yaml_is_pointed_at():
    with pytest.raises(SpecError, match="line 2, column 5: "):
        load_yaml("a: 1\nb: [", "f")


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="a1:- []{}\n&*!|>'\"#%.,~?\t", max_size=30))
def test_no_text_makes_the_reader_raise_anything_but_a_spec_error(text: str):
    with contextlib.suppress(SpecError):
        load_yaml(text, "f")


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text("name: a\ntask: mine.py:Task\nspace: {max_lr: {from: bounds}}\n")
    return path


def test_a_task_file_is_looked_for_beside_its_spec(spec_file: Path, tmp_path: Path):
    spec = read_spec(spec_file)
    assert Path(spec.task.root) == tmp_path
    assert spec.space == Space(max_lr=FromBounds())
    moved = tmp_path / "runs" / "study.yaml"
    moved.parent.mkdir()
    moved.write_text(dump_spec(spec))
    assert Path(read_spec(moved).task.root) == tmp_path


def test_overrides_are_applied_before_the_check(spec_file: Path):
    spec = read_spec(spec_file, dict([parse_override("search.trials=3"), parse_override("task.depth=1e1")]))
    assert spec.search.trials == 3
    assert spec.task.options == {"depth": 10.0}
    with pytest.raises(SpecError, match=r"search\.trails: is unknown"):
        read_spec(spec_file, {"search.trails": 3})
    with pytest.raises(SpecError, match="'name' is not a section"):
        read_spec(spec_file, {"name.x": 3})
    with pytest.raises(SpecError, match="is not of the form key=value"):
        parse_override("search.trials")


@pytest.mark.parametrize(
    ("content", "message"), [("", "is empty"), ("3", "holds 3, not a mapping"), (b"\xff\xfe\x00", "cannot be read")]
)
def test_a_file_that_holds_no_spec_is_refused(tmp_path: Path, content: str | bytes, message: str):
    path = tmp_path / "study.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(SpecError, match=message):
        read_spec(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path):
    with pytest.raises(SpecError, match="does not exist"):
        read_spec(tmp_path / "none.yaml")
    with pytest.raises(SpecError, match="is a directory"):
        read_spec(tmp_path)


_LADDER = "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9))
_MERGED = "".join(f"{chr(98 + i)}: &{chr(98 + i)} {{<<: [{', '.join([f'*{chr(97 + i)}'] * 9)}]}}\n" for i in range(9))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"a: &a [x, x]\n{_LADDER}", "holds more than 100000 values, counting what its aliases stand for"),
        (f"a: &a {{x: 1}}\n{_MERGED}", "holds more than 100000 values, counting what its aliases stand for"),
        ("name: &a [*a]", "line 1: '&a' holds itself"),
        ("name: x\nspace: &b {c: {d: *b}}", "line 2: '&b' holds itself"),
        ("[" * 5000, "it is nested too deep"),
        ("name: " + "{a: " * 3000, "it is nested too deep"),
        ("- " * 5000 + "x", "it is nested too deep"),
        ("name: " + "x" * 2**20, "larger than 1 MiB"),
        ('name: "a\\0b"', "name: 'a?b' holds U+0000, which no file can hold"),
        ('name: "\\ud800"', "name: '?' holds U+D800, which no file can hold"),
        ("seed: " + "9" * 5000, "Exceeds the limit"),
        ("seed: 0x" + "f" * 5000, "seed: a whole number of 20000 bits is out of range"),
        ("name: " + "x" * 20_000, "name: a text of 20000 characters is longer than 10000"),
        ("name: " + "[" * 80 + "x" + "]" * 80, "is nested more than 64 deep"),
        ("{[a]: 1}", "name: is missing"),
        ("[" + "x, " * 5000 + "x]", "holds ['x', 'x', 'x', ...], not a mapping"),
        ("name: a\x07b", "unacceptable character #x0007"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
def test_what_nobody_would_write_is_refused_in_one_line_at_once(text: str, said: str, tmp_path: Path):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as refused:
        read_spec(path)
    assert said in str(refused.value)


@pytest.mark.parametrize("name", ["/dev/zero", "fifo", "loop"])
def test_a_spec_that_is_no_file_is_not_waited_for(name: str, tmp_path: Path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(SpecError, match=r"cannot be read \((Is no regular file|Too many levels of symbolic links)\)"):
        read_spec(tmp_path / name)
