"""Three measures of importance agree where they must, and their intervals hold the share."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator

from lab.response.encode import Encoding
from lab.response.findings import Importance
from lab.response.forest import Floats
from lab.response.importance import measures, resampled

pytestmark = pytest.mark.usefixtures("quiet_optuna")

ENCODING = Encoding(
    {
        "lr": FloatDistribution(1e-4, 1.0, log=True),
        "x": FloatDistribution(0, 1),
        "c": CategoricalDistribution(("p", "q", "r")),
    }
)


def _measured(target: Floats, units: Floats) -> dict[str, dict[str, Importance]]:
    params = [ENCODING.values(unit) for unit in units]
    again = resampled(ENCODING.features(ENCODING.units(params)), target, seed=0, draws=6)
    return measures(ENCODING, params, target, again, seed=0)


def test_all_measures_find_what_matters_on_a_log_scale():
    """fANOVA would give it to x if it took the log scale for a linear one."""
    units = np.random.default_rng(0).random((80, 3))
    by_measure = _measured(3 * units[:, 0] + units[:, 1], units)
    assert set(by_measure) == {"permutation", "fanova", "ped_anova", "good_region"}
    for measure in by_measure.values():
        assert max(measure, key=lambda name: measure[name].share) == "lr"
        assert measure["lr"].share > 0.7
        assert all(i.low <= i.share <= i.high for i in measure.values())


def test_intervals_narrow_with_trials():
    rng = np.random.default_rng(1)
    widths = []
    for count in (16, 128):
        units = rng.random((count, 3))
        lr = _measured(units[:, 0] + units[:, 1] + 0.3 * rng.normal(size=count), units)["fanova"]["lr"]
        widths.append(lr.high - lr.low)
    assert widths[1] < 0.7 * widths[0]


def test_parameters_that_not_all_trials_have_are_left_to_the_permutation():
    units = np.random.default_rng(2).random((40, 3))
    params = [ENCODING.values(unit) for unit in units]
    for point in params[::2]:
        del point["x"]
    again = resampled(ENCODING.features(ENCODING.units(params)), units[:, 0], seed=0, draws=2)
    by_measure = measures(ENCODING, params, units[:, 0], again, seed=0)
    assert set(by_measure["permutation"]) == {"lr", "x", "c"}
    assert set(by_measure["fanova"]) == {"lr", "c"}


def test_equal_scores_give_no_shares():
    by_measure = _measured(np.ones(20), np.random.default_rng(0).random((20, 3)))
    assert all(i.share == 0 for measure in by_measure.values() for i in measure.values())


def test_fanova_is_shown_no_more_trials_than_it_can_bear(monkeypatch: pytest.MonkeyPatch):
    seen: list[int] = []
    evaluate = FanovaImportanceEvaluator.evaluate

    def counted(self: FanovaImportanceEvaluator, study: optuna.Study, *args: Any, **kwargs: Any) -> dict[str, float]:
        seen.append(len(study.trials))
        return evaluate(self, study, *args, **kwargs)

    monkeypatch.setattr(FanovaImportanceEvaluator, "evaluate", counted)
    units = np.random.default_rng(3).random((300, 3))
    by_measure = _measured(units[:, 0], units)
    assert set(seen) == {96}
    assert by_measure["fanova"]["lr"].share > 0.9


def test_among_good_settings_something_else_may_decide():
    """lr decides whether training works at all; where it does, x decides."""
    units = np.random.default_rng(4).random((300, 3))
    by_measure = _measured(10.0 * (units[:, 0] < 0.5) + units[:, 1], units)
    assert by_measure["permutation"]["lr"].share > 0.8
    assert by_measure["good_region"]["x"].share > 0.8
    assert by_measure["good_region"]["lr"].share < 0.2
