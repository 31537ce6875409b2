"""Settings that are tried first: trials like any other, entered once, whatever happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lab
from lab.errors import RecordError, SpecError
from lab.record.folder import Record
from lab.record.trials import read_trials
from lab.stages import enqueued
from lab.study.study import Study

SPACE = lab.Space(
    net=lab.Choice(("plain", "wide", True)),
    rate=lab.Float(1e-3, 1.0, log=True),
    depth=lab.Int(1, 4),
    width=lab.Int(8, 64, when={"net": ("wide",)}),
    max_lr=lab.FromBounds(),
)


@lab.trial_function(metric="score", direction="maximize")
def walk(trial: lab.Trial) -> Iterator[dict[str, float]]:
    for _ in range(trial.epochs):
        yield {"score": -abs(trial.params["max_lr"] - 0.01)}


def study_in(folder: Path, trials: int = 5, **more: Any) -> Study:
    space = lab.Space(max_lr=lab.Float(1e-3, 1.0, log=True), depth=lab.Int(1, 4))
    search = {"sampler": {"kind": "forest", "startup": 2}}
    return lab.Study(walk, space, name="first", trials=trials, epochs=1, folder=folder, search=search, **more)


def explore(study: Study, **more: Any) -> list[Any]:
    study.run(engine="local", lanes=1, width=1, until="explore", **more)
    return read_trials(study.record, "explore")


def test_they_are_tried_first_and_the_rest_is_proposed(tmp_path: Path) -> None:
    study = study_in(tmp_path / "run")
    study.enqueue({"max_lr": 0.5, "depth": 2})
    study.enqueue({"depth": np.int64(4)})
    rows = explore(study)
    assert [row.trial.role for row in rows] == ["enqueued", "enqueued", "search", "search", "search"]
    assert rows[0].params == {"max_lr": 0.5, "depth": 2}
    assert rows[1].params["depth"] == 4
    assert 1e-3 <= rows[1].params["max_lr"] <= 1.0
    assert len({row.trial.seed for row in rows}) == 5
    assert list(study.result.trials["role"])[:2] == ["enqueued", "enqueued"]


def test_the_same_script_again_enters_none_twice(tmp_path: Path) -> None:
    for _ in range(2):
        study = study_in(tmp_path / "run")
        study.enqueue({"depth": 2})
        study.enqueue({"depth": 2})
        with pytest.raises(lab.errors.StudyError):  # after the first trial that ends
            study.run(engine="local", lanes=1, width=1, until="explore", on_trial_end=lambda ended: 1 / 0)
    study = study_in(tmp_path / "run")
    study.enqueue({"depth": 2})
    study.enqueue({"depth": 3})
    rows = explore(study)
    assert [row.trial.role for row in rows].count("enqueued") == 2
    assert len(rows) == 5


def test_an_interrupted_study_has_the_trials_of_an_undisturbed_one(tmp_path: Path) -> None:
    whole, parts = (study_in(tmp_path / name) for name in ("whole", "parts"))
    for study in (whole, parts):
        study.enqueue({"depth": 2, "max_lr": 0.1})
        study.enqueue({"max_lr": 0.2})
    with pytest.raises(lab.errors.Interrupted):
        parts.run(engine="local", lanes=1, width=1, until="explore", on_trial_end=lambda ended: parts.stop())
    rows = [[(row.number, row.params, row.trial.seed, row.score) for row in explore(one)] for one in (whole, parts)]
    assert rows[0] == rows[1]


def test_no_more_are_tried_than_there_are_trials(tmp_path: Path) -> None:
    study = study_in(tmp_path / "run", trials=2)
    for depth in (1, 2, 3):
        study.enqueue({"depth": depth})
    assert [row.params["depth"] for row in explore(study)] == [1, 2]


def test_a_loop_of_one_s_own_is_asked_for_them(tmp_path: Path) -> None:
    study = study_in(tmp_path / "run")
    study.enqueue({"depth": 2})
    first = study.ask()
    study.enqueue({"depth": 3, "max_lr": 0.1})
    second = study.ask()
    assert first is not None
    assert second is not None
    assert (first.params["depth"], second.params) == (2, {"max_lr": 0.1, "depth": 3})


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({}, "enqueue: {} is not a mapping"),
        (3, "enqueue: 3 is not a mapping"),
        ({"rte": 0.1}, "enqueue.rte: is not searched (did you mean 'rate'?); searched are net, "),
        ({"rate": 2.0}, "enqueue.rate: 2.0 is not a number from 0.001 to 1"),
        ({"rate": "0.1"}, "enqueue.rate: '0.1' is not a number"),
        ({"rate": True}, "enqueue.rate: True is not a number"),
        ({"rate": float("nan")}, "enqueue.rate: nan is not a number"),
        ({"depth": 2.0}, "enqueue.depth: 2.0 is not a whole number from 1 to 4"),
        ({"depth": 9}, "enqueue.depth: 9 is not a whole number from 1 to 4"),
        ({"net": "deep"}, "enqueue.net: 'deep' is not one of"),
        ({"net": 1}, "enqueue.net: 1 is not one of"),
        ({"width": 8}, "enqueue.width: exists only at net in ['wide']; say that too"),
        ({"net": "plain", "width": 8}, "enqueue.width: exists only at net in ['wide']"),
        ({"max_lr": -1}, "enqueue.max_lr: -1 is not a number above 0"),
    ],
)
def test_what_is_no_setting_is_refused_in_one_line(setting: Any, says: str) -> None:
    with pytest.raises(SpecError) as refused:
        enqueued.checked(SPACE, setting)
    assert str(refused.value).startswith(says)


def test_values_have_the_types_of_the_space() -> None:
    assert enqueued.checked(SPACE, {"max_lr": 1, "rate": 1, "net": "wide", "width": 8}) == {
        "net": "wide",
        "rate": 1.0,
        "width": 8,
        "max_lr": 1.0,
    }


def test_a_rate_outside_of_what_the_range_test_found_is_brought_to_its_end(tmp_path: Path) -> None:
    record = Record(tmp_path)
    enqueued.add(record, SPACE, [{"max_lr": 5.0}, {"max_lr": 0.1}])
    settings = enqueued.settings_of(record, SPACE.with_bounds(0.01, 1.0))
    assert [one["max_lr"] for one in settings] == [1.0, 0.1]


@pytest.mark.parametrize(
    "content", ["[]", '{"settings": 3}', '{"settings": [3]}', '{"settings": [{"depth": 99}]}', "{"]
)
def test_a_damaged_file_is_one_line(tmp_path: Path, content: str) -> None:
    record = Record(tmp_path)
    enqueued.path_of(record).write_text(content)
    with pytest.raises(RecordError, match=r"enqueued\.json") as refused:
        enqueued.settings_of(record, SPACE.with_bounds(0.01, 1.0))
    assert "\n" not in str(refused.value)


def test_what_lies_on_the_disk_is_plain(tmp_path: Path) -> None:
    enqueued.add(Record(tmp_path), SPACE, [{"net": True, "rate": 0.1}])
    assert json.loads(enqueued.path_of(Record(tmp_path)).read_text()) == {"settings": [{"net": True, "rate": 0.1}]}
