"""What a trial is worth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from lab.response.encode import Encoding
from lab.search.acquisition import Acquisition
from lab.search.fidelity import lessons
from lab.search.history import History, even_costs, read_history
from lab.search.prior import Prior

SPACE = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
ENCODING = Encoding(SPACE)
POINTS = np.random.default_rng(0).random((60, 2))
GRID = np.stack(np.meshgrid(np.linspace(0.01, 0.99, 21), np.linspace(0.01, 0.99, 21)), axis=-1).reshape(-1, 2)


def _trial(point: NDArray[np.float64], value: float | None, outcome: str = "") -> FrozenTrial:
    return create_trial(
        state=TrialState.FAIL if value is None else TrialState.COMPLETE,
        value=value,
        params={"x": float(point[0]), "y": float(point[1])},
        distributions=SPACE,
        user_attrs={"outcome": outcome},
    )


def _bowl(point: NDArray[np.float64]) -> float:
    return float(((point - 0.3) ** 2).sum())


def _history(trials: list[FrozenTrial]) -> History:
    return read_history(trials, ENCODING, StudyDirection.MINIMIZE)


def _acquisition(history: History, prior: Prior | None = None) -> Acquisition:
    return Acquisition(0, history, lessons(history, ENCODING, 1.0), prior or Prior(None))


def _worth(history: History, prior: Prior | None = None) -> NDArray[np.float64]:
    return _acquisition(history, prior)(ENCODING, GRID, len(history))


def test_most_is_expected_where_the_response_is_best() -> None:
    worth = _worth(_history([_trial(p, _bowl(p)) for p in POINTS]))
    assert (worth >= 0).all()
    assert np.abs(GRID[worth.argmax()] - 0.3).max() < 0.15


def test_the_means_are_those_of_the_trials_in_their_order() -> None:
    history = _history([_trial(p, _bowl(p)) for p in POINTS])
    means = _acquisition(history).means
    assert means.shape == (60,)
    assert np.corrcoef(means, even_costs(history.cost))[0, 1] > 0.98


def test_a_region_that_breaks_is_tried_once_nothing_else_is_left() -> None:
    """It breaks for x < 0.4, where the bowl's bottom lies; as divergence and as failure."""
    for outcome in ("diverged", "failed"):
        worth = _worth(_history([_trial(p, None, outcome) if p[0] < 0.4 else _trial(p, _bowl(p)) for p in POINTS]))
        deep = GRID[:, 0] < 0.25
        assert worth[deep].max() < 1e-9 * worth[~deep].max()
        assert (worth[deep] >= 0).all()


def test_with_a_single_score_only_the_chance_to_end_well_is_known() -> None:
    alone = np.array([0.9, 0.9])
    history = _history([_trial(alone, 1.0), *(_trial(p, None, "diverged") for p in POINTS[:20] if max(p) < 0.8)])
    acquisition = _acquisition(history)
    assert acquisition.means.tolist() == [0.0] * len(history)
    assert not acquisition.noisy
    near, far = acquisition(ENCODING, np.array([alone, [0.1, 0.1]]), len(history))
    assert near > 2 * far >= 0


def test_the_best_is_of_full_runs_and_of_those_that_ended_well() -> None:
    """Pruned scores are of shorter runs and look worse than they are; diverged trials are the worst."""
    trials = [_trial(p, _bowl(p)) for p in POINTS[:30]]
    for point in POINTS[30:45]:
        pruned = _trial(point, _bowl(point) + 1.0)
        pruned.state, pruned.values, pruned.intermediate_values = TrialState.PRUNED, None, {3: _bowl(point) + 1.0}
        trials.append(pruned)
    for trial in trials[:30]:
        trial.intermediate_values = {3: trial.values[0] + 1.0, 27: trial.values[0]}
    trials += [_trial(p, None, "diverged") for p in POINTS[45:] if p[0] > 0.7]
    history = _history(trials)
    taught = lessons(history, ENCODING, 1.0)
    assert len(taught.cost) > len(history)
    acquisition = Acquisition(0, history, taught, Prior(None))
    assert np.corrcoef(acquisition.means[30:45], [_bowl(p) for p in POINTS[30:45]])[0, 1] > 0.6
    worth = acquisition(ENCODING, GRID, len(history))
    assert np.isfinite(worth).all()
    assert np.abs(GRID[worth.argmax()] - 0.3).max() < 0.2


def test_a_prior_draws_towards_its_center_and_fades() -> None:
    history = _history([_trial(p, _bowl(p)) for p in POINTS])
    acquisition = _acquisition(history, Prior({"x": {"center": 0.8, "spread": 0.1}}))
    early, late = (acquisition(ENCODING, GRID, trials) for trials in (1, 100_000))
    assert GRID[early.argmax(), 0] > 0.6
    assert GRID[late.argmax(), 0] < 0.45


def test_noise_is_seen_where_there_is_some() -> None:
    rng = np.random.default_rng(1)
    assert not _acquisition(_history([_trial(p, _bowl(p)) for p in POINTS])).noisy
    noisy = _acquisition(_history([_trial(p, _bowl(p) + 0.3 * rng.normal()) for p in POINTS]))
    assert noisy.noisy
    assert noisy.noise > 0
