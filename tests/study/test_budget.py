"""A study within a budget: never more than it pays for, the most useful first, and the same study when it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lab.errors import RecordError, SpecError
from lab.record.folder import read_json
from lab.spec.study import StudySpec, parse_spec
from lab.study.budget import as_asked, cost, divided, within
from lab.study.same import difference
from lab.study.study import Study
from tests.small import small
from tests.unmarked import unmarked

_STEPS = 17.0


def _spec(budget: Any = "100 epochs", **more: Any) -> StudySpec:
    value = {
        "name": "within",
        "task": {"kind": "digits", "model": "mlp"},
        "space": {"max_lr": {"from": "bounds"}, "cycles": {"choice": [1, 2, 3]}, "dropout": {"low": 0.0, "high": 0.6}},
        "budget": budget,
    }
    return parse_spec(value | more)


@settings(max_examples=60, deadline=None)
@given(
    epochs=st.floats(1, 6000),
    trials=st.integers(1, 80),
    lengths=st.tuples(st.integers(3, 40), st.integers(1, 80)),
    seeds=st.integers(1, 5),
    refit=st.booleans(),
)
def test_no_plan_costs_more_than_its_budget_or_than_was_asked(
    epochs: float, trials: int, lengths: tuple[int, int], seeds: int, refit: bool
):
    search, final = lengths
    spec = _spec(search={"trials": trials, "epochs": search}, final={"epochs": final, "seeds": seeds, "refit": refit})
    try:
        plan = within(spec, epochs, _STEPS)
    except SpecError as error:
        assert "the smallest study takes" in str(error)
        assume(False)
    assert cost(plan, _STEPS) <= epochs
    for section, name in (
        ("search", "trials"),
        ("search", "epochs"),
        ("final", "seeds"),
        ("final", "epochs"),
        ("final", "refit_seeds"),
    ):
        assert 1 <= getattr(getattr(plan, section), name) <= getattr(getattr(spec, section), name)
    assert plan.search.epochs >= 3  # the cycles of the space fit
    assert plan.until.gain_below_noise
    assert as_asked(plan) == spec
    assert parse_spec(plan.model_dump()) == plan


def test_what_gains_most_comes_first():
    plans = {epochs: within(_spec(), epochs, _STEPS) for epochs in (120, 300, 1200, 2995, 6000)}
    searched = [plan.search.trials * plan.search.epochs for plan in plans.values()]
    assert searched == sorted(searched)
    assert [plan.final.controls for plan in plans.values()] == [*["none"] * 4, "final"]
    least, whole = plans[120], plans[6000]
    assert (least.search.trials >= 12, least.final.seeds) == (True, 2)
    assert least.search.epochs < 27
    assert (whole.search, whole.confirm, whole.final) == (_spec().search, _spec().confirm, _spec().final)
    assert least.budget is not None
    assert "trainings are shortened to 3 of 27 epochs in the search" in least.budget.decisions[0]


def test_a_budget_of_time_is_what_the_plan_that_it_pays_for_takes(monkeypatch: pytest.MonkeyPatch):
    from lab.lanes.engine import Probe
    from lab.lanes.speed.pace import Pace
    from lab.study import budget

    timed: list[float] = []

    def pace_of(spec: StudySpec) -> Pace:
        """Half as fast where fewer than 32 trials are searched."""
        seconds = cost(spec, _STEPS) * (0.1 if spec.search.trials >= 32 else 0.2)
        timed.append(seconds)
        probe = Probe("stacked", 1, 1, "timed", {}, False)
        return Pace(probe, seconds, probe, seconds)

    monkeypatch.setattr(budget, "pace_of", pace_of)
    monkeypatch.setattr(budget, "steps_of_epoch", lambda spec: _STEPS)
    plan = divided(_spec("2m"))
    assert plan.search.trials < 32
    assert 0.2 * cost(plan, _STEPS) <= 120
    assert len(timed) == 3


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ("soon", "budget: 'soon' is neither a time (45s, 30m, 2h) nor a number of epochs"),
        ("0", "budget: '0' is neither a time"),
        ("-3h", "budget: '-3h' is neither a time"),
        ({"limit": "3h", "hours": 3}, "budget.hours: is unknown"),
    ],
)
def test_a_budget_that_cannot_be_read_is_refused(budget: Any, message: str):
    with pytest.raises(SpecError) as raised:
        _spec(budget)
    assert str(raised.value).startswith(message)


def test_a_budget_that_no_study_fits_into_says_what_it_would_take():
    with pytest.raises(
        SpecError, match=r"^budget: '20 epochs' pays for 20 epochs; the smallest study takes (\d+)$"
    ) as e:
        within(_spec("20 epochs"), 20, _STEPS)
    least = int(str(e.value).split()[-1])
    assert cost(within(_spec(), least, _STEPS), _STEPS) <= least


@pytest.mark.slow
def test_a_study_keeps_to_its_budget_and_goes_on_with_the_same_plan(tmp_path: Path):
    asked = small(name="within", budget="60 epochs", final={"epochs": 6, "seeds": 2})
    study = Study.from_spec(parse_spec(asked), tmp_path / "run")
    study.run(until="confirm")
    again = Study.from_spec(parse_spec(asked), tmp_path / "run")
    again.run()  # the spec as the user has it still names this study
    plan = again.spec
    assert plan.budget is not None
    assert plan.budget.asked is not None
    left = {name: read_json(tmp_path / "run" / f"{name}.json") for name in ("explore", "confirm", "final", "refit")}
    trained = plan.search.epochs * (left["explore"]["trials"] + left["confirm"]["trials"])
    trained += sum(run["epochs"] for run in left["final"]["runs"]) + left["refit"]["epochs"]
    assert trained <= 60
    assert {run["seed"] for run in left["final"]["runs"] if run["role"] == "one_cycle"} == set(
        range(plan.final.seeds + left["final"]["seeds_added"])
    )
    page = unmarked((tmp_path / "run" / "report.html").read_text())
    assert "How the budget of 60 epochs was divided" in page
    assert all(decision.split("'")[0] in page for decision in plan.budget.decisions)
    assert difference(plan, parse_spec(asked)) is None
    for other in ("61 epochs", None):
        with pytest.raises(RecordError, match="holds another study"):
            Study.from_spec(parse_spec(asked | {"budget": other}), tmp_path / "run").run()
