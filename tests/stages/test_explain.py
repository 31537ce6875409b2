"""What a response is said to be, and what is withheld, on searches whose answer is known and on bad ones."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab.errors import StudyError
from lab.record.folder import Record, read_json, write_json
from lab.record.trials import TrialRow
from lab.report.page import render
from lab.report.verdict import verdict
from lab.spec.study import parse_spec
from lab.spec.trial import Outcome, Trial
from lab.stages import explain, explanation
from lab.stages.explain import Explained, Withheld
from lab.study.study import Study
from tests.small import small_spec

TASK = '''"""Scores of known shapes."""
from collections.abc import Iterator
import math
import numpy as np
import lab

def _function(score):
    @lab.trial_function(metric="score", direction="maximize")
    def train(trial: lab.Trial) -> Iterator[dict[str, float]]:
        yield {"score": float(score(trial))}
    return train

def _place(trial):
    return trial.params["a"], trial.params["b"]

product = _function(lambda t: 8 * (_place(t)[0] - 0.5) * (_place(t)[1] - 0.5) + 0.3 * _place(t)[0])
slope = _function(lambda t: math.log10(t.params["max_lr"]))
noise = _function(lambda t: np.random.default_rng(t.seed).normal())
constant = _function(lambda t: 0.5)
broken = _function(lambda t: [math.nan, math.inf, -math.inf][t.seed % 3])
edge = _function(lambda t: math.nan if t.params["a"] > 0.6 else t.params["a"])
far_out = _function(lambda t: -1e6 if t.seed % 40 == 0 else t.params["a"] + 0.02 * (t.seed % 5))
'''

LR = {"max_lr": {"low": 0.01, "high": 0.1, "log": True}}
PAIR = {"a": {"low": 0.0, "high": 0.99}, "b": {"low": 0.0, "high": 0.99}}


def explored(folder: Path, task: str, space: dict[str, Any], trials: int, **search: Any) -> Study:
    (folder / "task.py").write_text(TASK)
    value = {
        "name": "explained",
        "task": {"kind": f"{folder}/task.py:{task}", "root": "/"},
        "space": space,
        "search": {"sampler": {"kind": "random"}, "trials": trials, "epochs": 1} | search,
        "execution": {"engine": "local", "lanes": 1},
    }
    study = Study.from_spec(parse_spec(value), folder / "run")
    study.run(until="explain")
    return study


def test_a_pair_that_acts_together_is_found_drawn_and_told(tmp_path: Path) -> None:
    study = explored(tmp_path, "product", {**LR, **PAIR}, trials=120)
    explained = explain.STAGE.need(study.record)
    assert explained.withheld is None
    assert explained.interactions[0].names == ("a", "b")
    assert explained.interactions[0].share > 0.4
    assert explained.surface.names == ("a", "b")
    corners = np.array(explained.surface.mean)
    assert corners[0, 0] > corners[0, -1]
    assert corners[-1, -1] > corners[-1, 0]
    html = render(study.spec, study.record)
    assert 'id="surface"' in html
    assert ": choose them together." in html
    assert "a and b" in html


@pytest.fixture(scope="module")
def slope(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study whose score rises with `max_lr` alone; not to be written to."""
    return explored(tmp_path_factory.mktemp("slope"), "slope", {**LR, **PAIR}, trials=60)


def test_an_edge_names_the_command_that_widens_it(slope: Study) -> None:
    explained = explain.STAGE.need(slope.record)
    assert explained.edges == {"max_lr": "high"}
    assert explained.widen == {"max_lr": "space.max_lr.high=0.2"}
    html = render(slope.spec, slope.record)
    assert f"lab study extend {slope.record.folder} --trials +30 --set space.max_lr.high=0.2" in html


def test_noise_is_withheld_with_its_reason_and_its_pairs_too(tmp_path: Path) -> None:
    study = explored(tmp_path, "noise", {**LR, **PAIR}, trials=60)
    explained = explain.STAGE.need(study.record)
    assert "is below 0.2: the forest cannot tell good trials from bad ones" in explained.withheld
    assert (explained.importances, explained.measures, explained.interactions) == (None, {}, ())
    assert (explained.surface, explained.edges, explained.widen) == (None, {}, {})
    assert explained.gain.below_noise
    html = render(study.spec, study.record)
    assert "Withheld: out-of-bag R2" in html
    assert 'id="surface"' not in html
    assert "search no further" in html


def test_a_few_scores_that_are_far_out_are_not_all_that_is_explained(tmp_path: Path) -> None:
    explained = explain.STAGE.need(explored(tmp_path, "far_out", {**LR, **PAIR}, trials=80).record)
    assert explained.withheld is None
    assert max(explained.importances, key=lambda name: explained.importances[name]) == "a"


def test_diverged_trials_are_the_worst_and_no_trouble(tmp_path: Path) -> None:
    study = explored(tmp_path, "edge", {**LR, **PAIR}, trials=60)
    explained = explain.STAGE.need(study.record)
    assert explained.diverged > 10
    effect = next(e for e in explained.effects if e.name == "a")
    assert np.argmax(effect.mean) not in (0, len(effect.mean) - 1)
    render(study.spec, study.record)


def _explained(study: Study) -> tuple[Explained | Withheld, str]:
    explained = explain.STAGE.need(study.record)
    return explained, render(study.spec, study.record)


def test_a_space_of_one_point(tmp_path: Path) -> None:
    explained, html = _explained(explored(tmp_path, "noise", {"max_lr": {"low": 0.1, "high": 0.1}}, trials=6))
    assert explained.withheld == "the space is a single point"
    assert "Withheld: the space is a single point." in html


def test_a_constant_score(tmp_path: Path) -> None:
    explained, html = _explained(explored(tmp_path, "constant", {**LR, **PAIR}, trials=24))
    assert explained.withheld == "all trials score the same"
    assert explained.gain.below_noise
    assert "there is nothing to be sure of" in html


@pytest.mark.parametrize("sampler", ["random", "forest"])
@pytest.mark.parametrize("trials", [1, 2, 4, 6])
def test_fewer_trials_than_dimensions(tmp_path: Path, sampler: str, trials: int) -> None:
    space = {**LR, **{f"x{number}": {"low": 0.0, "high": 1.0} for number in range(9)}}
    study = explored(tmp_path, "slope", space, trials, sampler={"kind": sampler})
    explained, html = _explained(study)
    assert explained.withheld
    assert "Withheld: " in html


@pytest.mark.parametrize("sampler", ["random", "forest"])
def test_scores_that_are_no_numbers_are_diverged_trials_and_one_line(tmp_path: Path, sampler: str) -> None:
    with pytest.raises(StudyError, match="no trial completed") as error:
        explored(tmp_path, "broken", {**LR, **PAIR}, trials=24, sampler={"kind": sampler, **_start(sampler)})
    assert "24 diverged" in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert explain.STAGE.read(Record(tmp_path / "run")) is None


def _start(sampler: str) -> dict[str, int]:
    return {"startup": 4} if sampler == "forest" else {}


def test_duplicate_settings_are_no_trouble(tmp_path: Path) -> None:
    """Four settings, thirty trials: what is asked again differs by its seed only."""
    space = {"max_lr": {"choice": [0.01, 0.1]}, "a": {"choice": [0.1, 0.4]}, "b": {"choice": [0.2]}}
    study = explored(tmp_path, "edge", space, trials=30, sampler={"kind": "forest", "startup": 4})
    explained, html = _explained(study)
    assert explained.withheld is None
    assert explained.importances["a"] > 0.9
    assert 'id="surface"' in html


def test_an_artefact_of_before_there_were_pairs_is_still_shown(slope: Study, tmp_path: Path) -> None:
    study = Study.open(shutil.copytree(slope.record.folder, tmp_path / "run"))
    new = ("interactions", "surface", "extrapolation", "gain", "widen", "explains_direction")
    path = explain.STAGE.path(study.record)
    old = {name: value for name, value in read_json(path).items() if name not in new}
    write_json(path, old)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        html = render(study.spec, study.record)
    assert "max_lr" in verdict(explain.STAGE.need(study.record), study.record.folder).matters
    assert 'id="importances"' in html


def _row(number: int, outcome: Outcome, loss: float) -> TrialRow:
    return TrialRow(number, Trial({}, 0, 1), outcome, 0.5, metrics={"valid_loss": loss})


def test_losses_stand_in_for_scores_where_all_are_of_whole_runs() -> None:
    rows = [_row(0, Outcome.COMPLETED, 1.0), _row(1, Outcome.COMPLETED, 2.0), _row(2, Outcome.DIVERGED, 0.01)]
    losses = explanation._log_losses(rows)
    assert losses is not None
    np.testing.assert_allclose(np.exp(losses), [1.0, 2.0, 2.0], err_msg="a diverged one is the worst, whatever it had")
    assert explanation._log_losses([*rows, _row(3, Outcome.PRUNED, 3.0)]) is None


def test_a_forest_that_cannot_be_fitted_is_withheld(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is trained later depends on it."""

    def broken(*arguments: Any) -> Explained:
        raise ValueError("not this\nspace")

    monkeypatch.setattr(explanation, "explain", broken)
    monkeypatch.setattr(explain, "read_trials", lambda *arguments: [1, 2, 3])
    withheld = explain.run(small_spec(), Record(tmp_path), None)  # type: ignore[arg-type]
    assert withheld == Withheld("the forest could not be fitted (ValueError: not this space)", 3)
