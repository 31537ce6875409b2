"""Constraints through whole small studies: what breaks one is not trained, never the best, and never handed out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import lab
from lab.errors import SpecError, StudyError
from lab.record.trials import read_trials
from lab.report.number import number
from lab.report.page import render
from lab.report.summary import summary_lines
from lab.spec.trial import Outcome
from lab.stages import confirm
from lab.study.study import Study

SPACE = lab.Space(max_lr=lab.Float(1e-3, 0.3, log=True), width=lab.Int(1, 64, log=True))
ENGINE: dict[str, Any] = {"engine": "local", "width": 3, "quiet": True}


class Rings(lab.Task):
    def model(self, params: Any) -> nn.Module:
        width = int(params["width"])
        return nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 2))

    def data(self, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        seed = {"train": 0, "valid": 1, "test": 2}[split]
        x = torch.randn(96, 2, generator=torch.Generator().manual_seed(seed))
        return x, (x.square().sum(dim=1) > 1.3).long()


def parameters(width: int) -> int:
    return 2 * width + width + 2 * width + 2


def begin(folder: Path, trials: int = 12, **search: Any) -> Study:
    sampler = {"kind": "forest", "startup": 6}
    return lab.Study(
        Rings(),
        SPACE,
        folder=folder / "run",
        trials=trials,
        epochs=1,
        search={"sampler": sampler, **search},
        confirm={"one_cycle": 1, "several": 0, "seeds": 2},
        bounds={"trial_seeds": 0},
    )


@pytest.fixture(scope="module")
def small_nets(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Not to be written to."""
    study = begin(tmp_path_factory.mktemp("limits"), constraints={"parameters": 32, "flops": 1e9})
    study.run(**ENGINE, until="confirm")
    return study


def test_a_trial_that_breaks_a_constraint_is_counted_and_not_trained(small_nets: Study):
    rows = read_trials(small_nets.record, "explore")
    over = [row for row in rows if parameters(int(row.params["width"])) > 32]
    assert over
    for row in rows:
        expected = parameters(int(row.params["width"]))
        assert row.metrics["parameters"] == expected
        assert row.metrics["flops"] == 2 * (expected - int(row.params["width"]) - 2)
        assert (row.outcome is Outcome.INFEASIBLE) == (row in over)
    for row in over:
        assert row.score is None
        assert row.curve == {}
        assert row.detail.endswith("is above 32")


def test_what_is_confirmed_keeps_to_it(small_nets: Study):
    """Also the settings that need no search, which lie in the middle of the space: 8 neurons of 42 numbers."""
    confirmed = confirm.STAGE.need(small_nets.record)
    assert parameters(int(confirmed.chosen.one_cycle.params["width"])) <= 32
    unsearched = next(one for one in confirmed.candidates if one.trial is None)
    assert set(unsearched.outcomes) == {"infeasible"}
    best = small_nets.result.best_trial
    assert best is not None
    assert parameters(int(best.params["width"])) <= 32


def test_the_front_is_a_table_a_line_and_a_block_of_the_page(small_nets: Study):
    front = small_nets.result.front("parameters")
    assert list(front.columns) == ["trial", "parameters", "accuracy", "max_lr", "width"]
    assert front["parameters"].is_monotonic_increasing
    assert front["accuracy"].is_monotonic_increasing
    assert front["parameters"].max() <= 32
    (line, _) = (line for line in summary_lines(small_nets.result.summary) if line.startswith("front "))
    scored = int(small_nets.result.trials.query("stage == 'explore'")["score"].notna().sum())
    cheapest = front.iloc[0]
    assert line.startswith(
        f"front     accuracy {number(cheapest['accuracy'])} at {cheapest['parameters']:,.0f} parameters"
    )
    assert line.endswith(f", of {scored} trials")
    page = render(small_nets.spec, small_nets.record)
    assert '<div class="plot" id="front-parameters"' in page
    assert f"Of {scored} trials with a score, {len(front)} lie on the" in page
    steps = small_nets.result.plot.front().data[1]
    assert list(steps.x) == front["parameters"].tolist()
    assert steps.line.shape == "hv"


def test_costs_are_columns(small_nets: Study):
    of_search = small_nets.result.trials.query("stage == 'explore'")
    assert of_search["parameters"].notna().all()
    assert (of_search["outcome"] == "infeasible").any()


def test_where_no_trial_keeps_to_it_one_line_says_so(tmp_path: Path):
    with pytest.raises(StudyError) as ended:
        begin(tmp_path, trials=3, constraints={"parameters": 5}).run(**ENGINE, until="explore")
    said = str(ended.value)
    assert "\n" not in said
    assert "of 3 trials none meets search.constraints (3 infeasible: at the least parameters" in said


def test_a_metric_is_constrained_at_the_end_of_a_trial(tmp_path: Path):
    study = begin(tmp_path, trials=6, constraints={"valid_loss": {"at_least": 1e9}})
    with pytest.raises(StudyError, match=r"none meets search.constraints .* at the most valid_loss"):
        study.run(**ENGINE, until="explore")
    rows = read_trials(study.record, "explore")
    assert {row.outcome for row in rows} == {Outcome.INFEASIBLE}
    assert all(row.curve for row in rows)  # they were trained


def test_what_no_trial_measures_is_refused_before_anything_is_written(tmp_path: Path):
    with pytest.raises(SpecError, match=r"search.constraints.acuracy: is not measured \(did you mean 'accuracy'\?\)"):
        begin(tmp_path, constraints={"acuracy": {"at_least": 0.9}}).run(**ENGINE)
    assert not (tmp_path / "run").exists()


def test_a_trial_function_is_constrained_by_what_it_yields(tmp_path: Path):
    @lab.trial_function(metric="distance", direction="minimize")
    def walk(trial: lab.Trial) -> Any:
        yield {"distance": 1 / float(trial.params["step"]), "effort": float(trial.params["step"])}

    def study(name: str, constraints: dict[str, float]) -> Study:
        space = lab.Space(max_lr=lab.Float(1, 2), step=lab.Int(1, 9))
        return lab.Study(walk, space, folder=tmp_path / name, trials=8, epochs=1, search={"constraints": constraints})

    result = study("one", {"effort": 5}).run(engine="local", quiet=True, until="explore")
    assert result.best_trial is not None
    assert result.best_trial.params["step"] == result.trials.query("effort <= 5")["params_step"].max()
    with pytest.raises(SpecError, match=r"search.constraints.flops: a trial function has no model to count"):
        study("two", {"flops": 5}).run(engine="local", quiet=True)
    assert not (tmp_path / "two").exists()


def test_a_loop_of_ones_own_is_constrained_by_what_it_tells(tmp_path: Path):
    search = {"constraints": {"megabytes": 3}}
    space = lab.Space(depth=lab.Int(1, 8))
    study = lab.Study(lab.OwnLoop("error", "minimize"), space, folder=tmp_path / "own", trials=6, search=search)
    while (trial := study.ask()) is not None:
        depth = int(trial.params["depth"])
        with pytest.raises(SpecError, match=r"tell.metrics.megabytes: is missing"):
            study.tell(trial, 1 / depth)
        study.tell(trial, 1 / depth, metrics={"megabytes": depth})
    result = study.conclude()
    table = result.trials
    assert set(table.loc[table["megabytes"] > 3, "outcome"]) == {"infeasible"}
    assert result.best_trial is not None
    assert result.best_trial.params["depth"] == table.query("megabytes <= 3")["params_depth"].max()
