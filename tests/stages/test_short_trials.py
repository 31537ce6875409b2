"""Short trainings around the range test's suggestion: which, at what cost, what they change, and a kill among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.errors import Interrupted, SpecError
from lab.range_test import HALF_DECADE, MULTIPLES
from lab.record.ledger import Ledger
from lab.record.trials import read_trials
from lab.report.page import write_report
from lab.spec.study import parse_spec
from lab.stages import bounds, short_trials
from lab.stages.bounds import Bounds
from lab.stages.stage import Trainings
from lab.study.cost import trainings
from lab.study.study import Study
from tests.small import small, small_spec

SPACE = {"max_lr": {"from": "bounds"}, "cycles": {"choice": [2, 1]}, "dropout": {"low": 0.0, "high": 0.5}}
TESTS, EPOCHS, SEEDS = 2, 2, 2
LOW = (0.001, 0.001 * HALF_DECADE)
"""Multiples so low that the best of them lies at an end."""


def study_in(folder: Path, **changes: Any) -> Study:
    short = {"bounds": {"trial_seeds": SEEDS}, "search": {"epochs": EPOCHS, "trials": 4}, "space": SPACE}
    return Study.from_spec(parse_spec(small(**short | changes, execution={"checkpoint_s": 1e-6})), folder)


def run(study: Study) -> Bounds:
    study.run(until="bounds")
    return bounds.STAGE.need(study.record)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = study_in(tmp_path_factory.mktemp("undisturbed"))
    run(study)
    return study


def outcome_of(study: Study) -> Any:
    rows = read_trials(study.record, "bounds")
    trials = [(r.number, r.params, r.outcome, r.score, r.curve, r.trial.seed, r.step_losses) for r in rows]
    return trials, study.result.artefact("bounds")


def test_whole_1cycles_are_trained_at_every_rate_on_the_same_seeds(undisturbed: Study) -> None:
    artefact = bounds.STAGE.need(undisturbed.record)
    assert artefact.by_curve is not None
    assert [one.lr for one in artefact.tried] == pytest.approx([artefact.by_curve * multiple for multiple in MULTIPLES])
    rows = read_trials(undisturbed.record, "bounds")[TESTS:]
    assert artefact.trials == TESTS + len(rows) == TESTS + len(MULTIPLES) * SEEDS
    assert [score for one in artefact.tried for score in one.scores] == [row.score for row in rows]
    assert {(row.trial.epochs, row.params["cycles"], row.params["dropout"]) for row in rows} == {(EPOCHS, 1, 0.25)}
    by_rate = [{row.trial.seed for row in rows if row.params["max_lr"] == one.lr} for one in artefact.tried]
    assert all(seeds == by_rate[0] for seeds in by_rate)
    assert len(by_rate[0]) == SEEDS


def test_what_they_decide_lies_within_the_range(undisturbed: Study) -> None:
    artefact = bounds.STAGE.need(undisturbed.record)
    assert artefact.low * HALF_DECADE <= artefact.suggestion * 1.001
    assert artefact.suggestion <= artefact.high / HALF_DECADE * 1.001


@pytest.mark.parametrize("report", [1, 3])
def test_a_kill_among_them_changes_nothing(
    undisturbed: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: int
) -> None:
    take_in, seen = Ledger.report, []

    def killed(self: Ledger, lane: int, tick: int, reports: tuple[Any, ...]) -> Any:
        seen.extend(one.number for one in reports if one.number >= TESTS)
        if len(seen) >= 4 * report:
            raise KeyboardInterrupt
        return take_in(self, lane, tick, reports)

    study = study_in(tmp_path / "run")
    monkeypatch.setattr(Ledger, "report", killed)
    with pytest.raises(Interrupted, match="stopped at once"):
        study.run(until="bounds")
    monkeypatch.undo()
    assert bounds.STAGE.read(study.record) is None
    run(Study.open(tmp_path / "run"))
    assert outcome_of(study) == outcome_of(undisturbed)


def test_no_rate_lies_outside_the_range_given(tmp_path: Path, undisturbed: Study) -> None:
    by_curve = bounds.STAGE.need(undisturbed.record).by_curve
    assert by_curve is not None
    space = SPACE | {"max_lr": {"low": by_curve / 2, "high": by_curve * 5, "log": True}}
    prior = {"sampler": {"kind": "forest", "prior": {"max_lr": {"from": "bounds"}}}, "trials": 4, "epochs": 2}
    artefact = run(study_in(tmp_path / "run", space=space, search=prior))
    assert [one.lr for one in artefact.tried] == pytest.approx([by_curve, by_curve * HALF_DECADE])


def test_where_the_best_lies_at_an_end_two_more_rates_are_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(short_trials, "MULTIPLES", LOW)
    artefact = run(study_in(tmp_path / "run", bounds={"trial_seeds": 1}))
    assert artefact.by_curve is not None
    expected = [*LOW, 0.01, 0.01 * HALF_DECADE]
    assert [one.lr / artefact.by_curve for one in artefact.tried] == pytest.approx(expected)
    assert artefact.suggestion == pytest.approx(artefact.tried[-1].lr), "and there it ends"


def test_they_are_trained_with_the_specs_optimizer_where_several_are_searched(tmp_path: Path) -> None:
    space = SPACE | {
        "optimizer": {"choice": ["sgd", "adamw"]},
        "weight_decay": {"low": 1e-4, "high": 1e-3, "log": True},
    }
    study = study_in(tmp_path / "run", space=space, bounds={"trial_seeds": 1, "seeds": 1})
    artefact = run(study)
    rows = read_trials(study.record, "bounds")[2:]
    assert len(rows) == len(artefact.tried) == 5
    assert {row.params["optimizer"] for row in rows} == {"adamw"}
    assert rows[0].params["weight_decay"] == pytest.approx(10**-3.5), "of the space, not of the range tests"


@pytest.mark.parametrize(("trials", "seeds"), [(19, 0), (20, 1), (39, 1), (40, 2), (64, 2), (1000, 2)])
def test_they_take_no_more_than_a_quarter_of_the_search(trials: int, seeds: int) -> None:
    spec = small_spec(search={"trials": trials, "epochs": 6})
    assert short_trials.at_most(spec) == 7 * seeds, "with two rates beyond an end"
    assert trainings(spec, None)["bounds"] == Trainings(TESTS + 7 * seeds, 7 * seeds * 6, TESTS * 60)


def test_they_may_be_shorter_than_the_trials_of_the_search(tmp_path: Path) -> None:
    study = study_in(tmp_path / "run", bounds={"trial_seeds": SEEDS, "trial_epochs": 1})
    artefact = run(study)
    rows = read_trials(study.record, "bounds")[TESTS:]
    assert artefact.short_trainings == len(rows) == len(MULTIPLES) * SEEDS
    assert {row.trial.epochs for row in rows} == {1}
    assert all(list(row.curve) == [1] for row in rows), "each a whole 1cycle"
    study.run(until="explore")
    page = write_report(study.spec, study.record).read_text()
    assert f"{len(rows)} 1cycle trainings of 1 epochs at 5 rates ({len(rows)} epochs)" in page


@pytest.mark.parametrize(("epochs", "seeds"), [(6, 1), (2, 2), (3, 2)])
def test_shorter_ones_can_have_more_seeds_for_a_quarter_of_the_search(epochs: int, seeds: int) -> None:
    spec = small_spec(search={"trials": 24, "epochs": 6}, bounds={"trial_epochs": epochs})
    assert trainings(spec, None)["bounds"] == Trainings(TESTS + 7 * seeds, 7 * seeds * epochs, TESTS * 60)


def test_controls_for_the_whole_studys_cost_count_shorter_ones_for_less() -> None:
    runs = [
        trainings(small_spec(bounds={"trial_seeds": 4, **at}, final={"controls": "full"}), None)["final"].trainings
        for at in ({}, {"trial_epochs": 1})
    ]
    assert runs[0] - runs[1] == (4 * 7 * 3 - 10 * 3) // 4, "28 trainings of an epoch are 10 trials of 3"


def test_none_is_longer_than_a_trial_of_the_search() -> None:
    """A budget shortens the trials."""
    spec = small_spec(search={"trials": 24, "epochs": 3}, bounds={"trial_epochs": 4})
    assert trainings(spec, None)["bounds"] == Trainings(TESTS + 7, 7 * 3, TESTS * 60)


@pytest.mark.parametrize("epochs", [0, -1, 1.5, "all", 1001])
def test_what_is_no_number_of_epochs_is_refused(epochs: Any) -> None:
    with pytest.raises(SpecError, match=r"bounds\.trial_epochs"):
        small_spec(bounds={"trial_epochs": epochs})


def test_a_study_without_a_range_test_has_none() -> None:
    spec = small_spec(space={"max_lr": {"low": 1e-3, "high": 0.1, "log": True}}, bounds={"trial_seeds": 3})
    assert trainings(spec, None)["bounds"] == Trainings(0, 0)


def test_controls_for_the_whole_studys_cost_count_them() -> None:
    runs = [
        trainings(small_spec(bounds={"trial_seeds": seeds}, final={"controls": "full"}), None)["final"].trainings
        for seeds in (0, 4)
    ]
    assert runs[1] - runs[0] == 4 * 7 * 3 // 4, "final runs have 4 epochs, trials 3"


@pytest.mark.parametrize("multiples", [MULTIPLES, LOW])
def test_one_that_an_earlier_version_began_goes_on_with_its_three_seeds(
    multiples: tuple[float, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(short_trials, "MULTIPLES", multiples)
    search = {"search": {"trials": 60, "epochs": 2}, "bounds": {"trial_seeds": "auto"}}
    with monkeypatch.context() as earlier:
        earlier.setattr("lab.spec.bounds._TRIAL_SEEDS", 3)
        before = run(study_in(tmp_path / "run", **search))
    rows = outcome_of(study_in(tmp_path / "run", **search))[0]
    assert multiples == MULTIPLES or len(before.tried) > len(multiples)
    (tmp_path / "run" / "bounds.json").unlink()
    assert run(study_in(tmp_path / "run", **search)) == before
    assert outcome_of(study_in(tmp_path / "run", **search))[0] == rows, "nothing was trained again"
    assert len(before.tried[0].scores) == 3
    assert len(run(study_in(tmp_path / "new", **search)).tried[0].scores) == 2
