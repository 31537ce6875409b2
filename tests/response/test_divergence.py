"""P(diverge) follows how trials ended; where they all ended alike it is the same everywhere, and never sure."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier

from lab.response.divergence import Divergence


def test_it_finds_the_edge():
    x = np.random.default_rng(0).random((80, 2))
    model = Divergence(seed=0).fit(x, x[:, 0] > 0.7)
    probabilities = model.probability(np.array([[0.95, 0.5], [0.3, 0.5], [0.1, 0.9]]))
    assert probabilities[0] > 0.8
    assert probabilities[1:].max() < 0.2


@pytest.mark.parametrize("count", [2, 12, 300])
def test_its_trees_are_scikit_learns_to_the_last_bit(count: int):
    x = np.random.default_rng(count).random((count, 3))
    diverged = x[:, 0] > np.median(x[:, 0])
    points = np.random.default_rng(0).random((50, 3))
    reference = ExtraTreesClassifier(64, min_samples_leaf=2, bootstrap=True, random_state=5).fit(x, diverged)
    np.testing.assert_array_equal(
        Divergence(seed=5).fit(x, diverged).probability(points),
        np.mean([tree.predict_proba(points)[:, 1] for tree in reference.estimators_], axis=0),
    )


@pytest.mark.parametrize(("ended", "expected"), [([False] * 5, 0), ([True] * 5, 5 / 6), ([], 0)])
def test_where_all_ended_alike_there_is_nothing_to_tell(ended: list[bool], expected: float):
    model = Divergence(seed=0).fit(np.zeros((len(ended), 2)), np.array(ended, dtype=bool))
    assert model.probability(np.ones((3, 2))).tolist() == [expected] * 3
