"""Three measures of importance agree where they must, and their intervals hold the share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution

from lab.surrogate.encode import Encoding
from lab.surrogate.forest import Floats
from lab.surrogate.importance import Importance, measures

ENCODING = Encoding(
    {
        "lr": FloatDistribution(1e-4, 1.0, log=True),
        "x": FloatDistribution(0, 1),
        "c": CategoricalDistribution(("p", "q", "r")),
    }
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def _found(target: Floats, units: Floats) -> dict[str, dict[str, Importance]]:
    return measures(ENCODING, [ENCODING.values(unit) for unit in units], target, seed=0, draws=6)


def test_all_measures_find_what_matters_on_a_log_scale():
    """fANOVA would give it to x if it took the log scale for a linear one."""
    units = np.random.default_rng(0).random((80, 3))
    found = _found(3 * units[:, 0] + units[:, 1], units)
    assert set(found) == {"permutation", "fanova", "ped_anova"}
    for measure in found.values():
        assert max(measure, key=lambda name: measure[name].share) == "lr"
        assert measure["lr"].share > 0.7
        assert all(i.low <= i.share <= i.high for i in measure.values())


def test_intervals_narrow_with_trials():
    rng = np.random.default_rng(1)
    widths = []
    for count in (16, 128):
        units = rng.random((count, 3))
        lr = _found(units[:, 0] + units[:, 1] + 0.3 * rng.normal(size=count), units)["fanova"]["lr"]
        widths.append(lr.high - lr.low)
    assert widths[1] < 0.7 * widths[0]


def test_parameters_that_not_all_trials_have_are_left_to_the_permutation():
    units = np.random.default_rng(2).random((40, 3))
    params = [ENCODING.values(unit) for unit in units]
    for point in params[::2]:
        del point["x"]
    found = measures(ENCODING, params, units[:, 0], seed=0, draws=2)
    assert set(found["permutation"]) == {"lr", "x", "c"}
    assert set(found["fanova"]) == {"lr", "c"}


def test_equal_scores_give_no_shares():
    found = _found(np.ones(20), np.random.default_rng(0).random((20, 3)))
    assert all(i.share == 0 for measure in found.values() for i in measure.values())
