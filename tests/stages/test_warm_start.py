"""A study that starts from another's trials: they teach, they are recorded, and they are none of its own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from lab.errors import RecordError, SpecError
from lab.record.folder import Record, read_json
from lab.record.trials import read_trials
from lab.spec.space import Float, Space
from lab.spec.study import StudySpec, parse_spec
from lab.spec.trial import Observation, Outcome
from lab.stages import confirm, explore, warm_start
from lab.stages.explore import WarmStart
from lab.stages.no_hero import no_hero
from lab.study.study import Study
from tests.small import lab, small_spec, write_yaml

TASK = '''"""A score that is best at one rate, and breaks beyond another."""
from collections.abc import Iterator
import math
import lab

@lab.trial_function(metric="score", direction="maximize")
def train(trial: lab.Trial) -> Iterator[dict[str, float]]:
    rate = trial.params["max_lr"]
    for epoch in range(2):
        yield {"score": math.nan if rate > 3 else -abs(math.log10(rate) + 2) - 0.1 * epoch}
'''


WIDE = {"low": 1e-4, "high": 10.0, "log": True}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("warm")
    (folder / "task.py").write_text(TASK)
    (folder / "other.py").write_text(TASK)
    return folder


def value(home: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "warm",
        "task": {"kind": f"{home}/task.py:train", "root": "/"},
        "space": {
            "max_lr": WIDE,
            "cycles": {"choice": [1, 2]},
            "momentum": {"low": 0.5, "high": 0.9, "when": {"cycles": [2]}},
        },
        "search": {"sampler": {"kind": "forest", "startup": 8}, "trials": 24, "epochs": 2},
        "confirm": {"one_cycle": 1, "several": 0, "seeds": 2},
        "execution": {"engine": "local", "lanes": 1},
    } | changes


def spec(home: Path, **changes: Any) -> StudySpec:
    return parse_spec(value(home, **changes))


@pytest.fixture(scope="module")
def source(home: Path) -> Path:
    Study.from_spec(spec(home), home / "source").run(until="explore")
    return home / "source"


SHORT = {"sampler": {"kind": "forest", "startup": 8}, "trials": 6, "epochs": 2}


def test_it_learns_from_the_other_and_counts_none_of_its_trials(home: Path, source: Path, tmp_path: Path) -> None:
    other = tmp_path / "source"
    shutil.copytree(source, other)
    study = Study.from_spec(spec(home, search=SHORT), tmp_path / "run")
    study.run(until="explore", warm_start=other)
    shutil.rmtree(other)  # what was read is kept
    study = Study.open(tmp_path / "run")
    study.run(until="confirm")
    rows = read_trials(study.record, "explore")
    assert len(rows) == 6
    assert [row.number for row in rows] == list(range(6))
    # Without a start of its own it is where the other found the best.
    assert all(3e-3 < float(row.params["max_lr"]) < 3e-2 for row in rows[:4])
    explored = explore.STAGE.need(study.record)
    assert explored.trials == 6
    assert explored.warm_start == WarmStart(str(other), read=24, used=24)
    confirmed = confirm.STAGE.need(study.record)
    assert {entry.trial for entry in confirmed.candidates} <= {*range(6), None}
    settings = [*(row.params for row in rows), no_hero(study.spec, study.record)]
    own = {tuple(sorted((k, v) for k, v in params.items() if k != "cycles")) for params in settings}
    for row in read_trials(study.record, "confirm"):
        assert tuple(sorted((k, v) for k, v in row.params.items() if k != "cycles")) in own


def test_an_interrupted_one_goes_on_as_if_undisturbed(home: Path, source: Path, tmp_path: Path) -> None:
    whole = Study.from_spec(spec(home, search=SHORT), tmp_path / "whole")
    whole.run(until="explore", warm_start=source)
    begun = Study.from_spec(spec(home, search=SHORT), tmp_path / "begun")
    begun.run(until="bounds", warm_start=source)
    begun.record.artefact_path("explore").unlink(missing_ok=True)
    Study.open(tmp_path / "begun").run(until="explore")
    first, second = (read_trials(study.record, "explore") for study in (whole, begun))
    assert [(r.params, r.score) for r in first] == [(r.params, r.score) for r in second]
    # The same command again, with the other one gone, is no trouble either.
    Study.from_spec(spec(home, search=SHORT), tmp_path / "whole").run(until="explore", warm_start=source)


def test_only_trials_of_the_new_space_are_used(home: Path, source: Path, tmp_path: Path) -> None:
    narrower = {
        "max_lr": {"low": 1e-3, "high": 1.0, "log": True},
        "cycles": {"choice": [2, 1]},
        "momentum": {"low": 0.5, "high": 0.9, "when": {"cycles": [2]}},
    }
    study = Study.from_spec(spec(home, search=SHORT, space=narrower), tmp_path / "run")
    study.run(until="explore", warm_start=source)
    inside = [row for row in read_trials(Record(source), "explore") if 1e-3 <= float(row.params["max_lr"]) <= 1.0]
    warm = explore.STAGE.need(study.record).warm_start
    assert warm is not None
    assert 0 < warm.used == len(inside) < warm.read == 24


@pytest.mark.parametrize(
    "space",
    [
        {"max_lr": {"low": 20.0, "high": 30.0}, "cycles": {"choice": [1, 2]}},
        {"max_lr": WIDE, "cycles": {"choice": [1, 2]}, "more": {"low": 0, "high": 1}},
        {"max_lr": WIDE},
        {"max_lr": WIDE, "cycles": {"choice": [2]}, "momentum": {"low": 0.95, "high": 0.99}},
    ],
)
def test_another_space_is_one_line_and_leaves_nothing(home: Path, source: Path, tmp_path: Path, space: Any) -> None:
    with pytest.raises(SpecError, match="--warm-start: none of the 24 trials of"):
        Study.from_spec(spec(home, search=SHORT, space=space), tmp_path / "run").run(warm_start=source)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": {**SHORT, "epochs": 3}}, "has search.epochs 2, this study 3"),
        ({"batch_size": 32}, "has batch_size 64, this study 32"),
        ({"optimizer": {"kind": "sgd"}}, "has optimizer {'kind': 'adamw'}"),
        ({"task": "other"}, "its scores tell nothing of this one's"),
        ({"search": {**SHORT, "sampler": {"kind": "tpe"}}}, "the sampler 'tpe' takes no other study's trials"),
    ],
)
def test_scores_that_mean_something_else_are_refused(
    home: Path, source: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    if changes.get("task"):
        changes = {"task": {"kind": f"{home}/other.py:train", "root": "/"}}
    with pytest.raises(SpecError) as error:
        Study.from_spec(spec(home, **changes), tmp_path / "run").run(warm_start=source)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_study_that_has_begun_is_not_started_warm(home: Path, source: Path, tmp_path: Path) -> None:
    study = Study.from_spec(spec(home, search=SHORT), tmp_path / "run")
    study.run(until="explore")
    with pytest.raises(RecordError, match="has begun without --warm-start"):
        study.run(warm_start=source)
    warm = Study.from_spec(spec(home, search=SHORT), tmp_path / "warm")
    warm.run(until="explore", warm_start=source)
    with pytest.raises(RecordError, match="has started warm from"):
        warm.run(warm_start=tmp_path / "run")


def test_what_holds_no_trials_is_refused(home: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="is not a folder"):
        Study.from_spec(spec(home), tmp_path / "run").run(warm_start=tmp_path / "nowhere")
    Study.from_spec(spec(home), tmp_path / "empty").run(until="bounds")
    with pytest.raises(SpecError, match="has no finished trial"):
        Study.from_spec(spec(home), tmp_path / "run").run(warm_start=tmp_path / "empty")
    assert not (tmp_path / "run").exists()


def test_a_damaged_file_is_named(home: Path, source: Path, tmp_path: Path) -> None:
    study = Study.from_spec(spec(home, search=SHORT), tmp_path / "run")
    study.run(until="bounds", warm_start=source)
    path = warm_start.path_of(study.record)
    assert len(read_json(path)["trials"]) == 24
    path.write_text("{}")
    with pytest.raises(RecordError, match=r"warm_start.json: lacks source or trials"):
        Study.open(tmp_path / "run").run(until="explore")


def test_the_command_line_starts_warm(home: Path, source: Path, tmp_path: Path) -> None:
    path = write_yaml(tmp_path / "study.yaml", value(home, search=SHORT))
    done = lab("study", "run", path, "--dir", tmp_path / "run", "--warm-start", source, "--until", "explore")
    assert done.returncode == 0, done.stderr
    assert f"24 of 24 trials of {source} lay in this space" in done.stderr + done.stdout
    refused = lab("study", "run", path, "--dir", tmp_path / "more", "--warm-start", tmp_path / "nowhere")
    assert refused.returncode == 2
    assert len(refused.stderr.strip().splitlines()) == 1


def test_the_order_in_which_a_space_is_written_says_nothing() -> None:
    row = Observation({"b": 0.5, "a": 0.2, "max_lr": 0.1}, Outcome.COMPLETED, 1.0, {})
    space = Space(max_lr=Float(1e-3, 1.0), a=Float(0, 1), b=Float(0, 1))
    assert warm_start._inside([row], space) == (row,)


def test_a_search_of_several_objectives_takes_no_trials_of_another_study(source: Path, tmp_path: Path) -> None:
    both = small_spec(search={"objectives": ["score", "parameters"]})
    with pytest.raises(SpecError, match="--warm-start: teaches the score alone"):
        warm_start.begin(both, Record(tmp_path / "run"), source)
    assert not (tmp_path / "run").exists()
