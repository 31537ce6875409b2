"""A spec: read as YAML 1.2, checked to the last key, written so that it reads back the same."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.errors import SpecError
from lab.space import Choice, Float, FromBounds, Int, Space
from lab.spec import BoundsSpec, StudySpec, dump_spec, load_yaml, parse_override, parse_spec, read_spec

MAX_LR = {"low": 1e-4, "high": 1.0, "log": True}
BASE: dict[str, Any] = {"name": "a", "task": "digits", "space": {"max_lr": MAX_LR}}

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


def test_a_minimal_spec_has_every_default():
    spec = parse_spec(BASE)
    assert spec.task.kind == "digits"
    assert spec.space == Space(max_lr=Float(1e-4, 1.0, log=True))
    assert (spec.search.trials, spec.search.epochs, spec.final.epochs) == (64, 27, 60)
    assert spec.execution.lanes == "auto"


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


def test_a_study_is_the_same_wherever_it_runs():
    one, other = parse_spec(BASE), parse_spec({**BASE, "execution": {"lanes": 3}, "provenance": {"torch": "2"}})
    assert one.what() == other.what()
    assert one.what() != parse_spec({**BASE, "seed": 1}).what()


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


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"serch": {}}, "serch: is unknown (did you mean 'search'?); allowed: name, seed, task"),
        ({"search": {"trails": 3}}, "search.trails: is unknown (did you mean 'trials'?); allowed: sampler"),
        ({"execution": {"lane": 3}}, "execution.lane: is unknown (did you mean 'lanes'?)"),
        ({"search": {"trials": 0}}, "search.trials: 0: input should be greater than or equal to 1"),
        ({"search": {"trials": "3"}}, "search.trials: '3': input should be a valid integer"),
        ({"search": {"trials": True}}, "search.trials: True: "),
        ({"search": {"trials": 3.0}}, "search.trials: 3.0: "),
        ({"search": {"max_failed_share": 0}}, "search.max_failed_share: 0: "),
        ({"search": {"sampler": "tpe"}}, "search.sampler: 'tpe': "),
        ({"search": None}, "search: None is not a mapping of options to values"),
        ({"search": 5}, "search: 5 is not a mapping of options to values"),
        ({"execution": {"engine": "rya"}}, "execution.engine: 'rya': input should be 'auto', 'ray' or 'local'"),
        (
            {"execution": {"lanes": "x"}},
            "execution.lanes: 'x': input should be a valid integer, or input should be 'au",
        ),
        ({"execution": {"gpus_per_lane": 1.5}}, "execution.gpus_per_lane: 1.5 is neither below 1 nor a whole number"),
        ({"execution": {"width": 0}}, "execution.width: 0: input should be greater than or equal to 1, or "),
        ({"name": "a b"}, "name: 'a b': "),
        ({"name": "../x"}, "name: '../x': "),
        ({"name": "a\n"}, r"name: 'a\n': "),
        ({"seed": -1}, "seed: -1: "),
        ({"bounds": {"end": float("inf")}}, "bounds.end: inf: "),
        ({"bounds": {"start": float("nan")}}, "bounds.start: nan: "),
        ({"bounds": {"weight_decays": ["0.1"]}}, "bounds.weight_decays.0: '0.1': "),
        ({"bounds": {"weight_decays": []}}, "bounds.weight_decays: []: "),
        ({"bounds": {"start": 1.0, "end": 0.1}}, "bounds.end: 0.1 is not above start 1.0"),
        ({"final": {"epochs": 3, "snapshots": 4}}, "final.snapshots: 4 is above final.epochs 3"),
        ({"task": {}}, "task.kind: is missing"),
        ({"task": 5}, "task: 5 is not a mapping of options to values"),
        ({"task": {"kind": 5}}, "task.kind: 5: "),
        ({1: 2}, "1: 1: keys should be strings"),
        ({"space": None}, "space: None is not a mapping"),
        ({"space": {}}, "space: is empty"),
        ({"space": {"max_lr": {"low": 1}}}, "space.max_lr: keys ['low']"),
        ({"space": {"x": MAX_LR}}, "space.max_lr: is missing, and schedule.one.max_lr is not given either"),
        ({"schedule": {"one": {"kind": "onecycle"}}}, "schedule.one.kind: 'onecycle' is unknown (did you mean 'one_c"),
        ({"schedule": {"one": {}}}, "schedule.one.kind: None is unknown"),
        (
            {"schedule": {"one": {"kind": "one_cycle", "div_": 1}}},
            "schedule.one.div_: is unknown (did you mean 'div'?)",
        ),
    ],
)
def test_a_bad_value_is_refused_with_place_value_and_what_is_allowed(change: dict[Any, Any], expected: str):
    with pytest.raises(SpecError) as caught:
        parse_spec({**BASE, **change})
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "dimension", "expected"),
    [
        ("cycles", {"choice": [1, 40]}, "space.cycles: 40 cycles do not fit into 27 epochs"),
        ("cycles", {"choice": [0]}, "space.cycles: 0 is not at least 1"),
        ("cycles", {"low": 1, "high": 40, "int": True}, "space.cycles: 40 cycles do not fit into 27 epochs"),
        ("cycles", {"low": 1, "high": 3}, "space.cycles: is a real number"),
        ("pct_start", {"low": -0.5, "high": 0.5}, "space.pct_start: -0.5 is not between 0 and 1 (schedule.one)"),
        ("warmup", {"low": 0.0, "high": 1.0}, "space.warmup: 1.0 is not in [0, 1) (schedule.several)"),
        ("weight_decay", {"low": -1.0, "high": 1.0}, "space.weight_decay: -1.0 is not at least 0 (schedule.one)"),
        ("max_lr", {"low": 0, "high": 1}, "space.max_lr: 0.0 is not above 0 (schedule.one)"),
        ("max_lr", {"low": 0.1, "high": 1, "when": {"d": 1}}, "space.max_lr.when: every trial needs max_lr"),
        ("x", {"low": 0, "high": 1, "when": {"d": 5}}, "space.x.when.d: 5 is not one of [1, 2]"),
    ],
)
def test_a_range_that_would_break_a_trial_is_refused_before_anything_starts(name: str, dimension: Any, expected: str):
    with pytest.raises(SpecError) as caught:
        parse_spec({**BASE, "space": {"d": {"choice": [1, 2]}, "max_lr": MAX_LR, name: dimension}})
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize("value", [3, [], "x", None])
def test_what_is_no_mapping_is_no_spec(value: object):
    with pytest.raises(SpecError, match=r"^spec: "):
        parse_spec(value)


@pytest.mark.parametrize("key", list(BASE))
def test_a_missing_key_is_named(key: str):
    with pytest.raises(SpecError, match=rf"^{key}: is missing"):
        parse_spec({k: v for k, v in BASE.items() if k != key})


def test_the_learning_rate_may_be_fixed_in_the_schedule():
    fixed = {"one": {"kind": "one_cycle", "max_lr": 0.1}, "several": {"kind": "snapshot", "max_lr": 0.1}}
    assert isinstance(parse_spec({**BASE, "space": {"x": MAX_LR}, "schedule": fixed}), StudySpec)


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
    assert spec.task.ref().options == {"depth": 10.0}
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


def test_a_short_search_has_a_short_range_test():
    bounds = BoundsSpec(seeds=2, steps=50)
    assert bounds.affordable(3000) == [0.001, 0.01, 0.1], "300 steps are a tenth"
    assert bounds.affordable(2999) == [0.01]
    assert bounds.affordable(None) == [0.001, 0.01, 0.1]
    assert BoundsSpec(weight_decays=[0.3, 0.4]).affordable(1) == [0.3, 0.4], "what was asked for stays"
