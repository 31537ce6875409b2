"""The forest is scikit-learn's; what is added to it agrees with scikit-learn where that says the same."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from lab.surrogate.forest import Floats, Forest


@pytest.fixture(scope="module")
def data() -> tuple[Floats, Floats]:
    rng = np.random.default_rng(0)
    x = rng.random((60, 4)).astype(np.float32).astype(np.float64)
    return x, np.sin(3 * x[:, 0]) + x[:, 1] + 0.1 * rng.normal(size=60)


def test_out_of_bag_predictions_are_scikit_learns(data: tuple[Floats, Floats]):
    x, y = data
    forest = Forest(seed=3).fit(x, y)
    reference = RandomForestRegressor(128, min_samples_leaf=2, max_features=0.8, oob_score=True, random_state=3)
    reference.fit(x, y)
    np.testing.assert_allclose(forest.out_of_bag(), reference.oob_prediction_, rtol=1e-12)
    assert forest.out_of_bag_r2() == pytest.approx(reference.oob_score_, rel=1e-12)
    np.testing.assert_allclose(forest.predict(x).mean, reference.predict(x), rtol=1e-12)


def test_the_spread_is_that_of_the_trees(data: tuple[Floats, Floats]):
    forest = Forest(seed=3, trees=16).fit(*data)
    trees = forest.trees(data[0])
    assert trees.shape == (16, 60)
    np.testing.assert_array_equal(forest.predict(data[0]).std, trees.std(axis=0))


def test_noise_alone_has_no_out_of_bag_quality():
    rng = np.random.default_rng(1)
    r2 = Forest(seed=0).fit(rng.random((80, 3)), rng.normal(size=80)).out_of_bag_r2()
    assert r2 is not None
    assert r2 < 0.1


@pytest.mark.parametrize("value", [0.0, 0.97, -1e6])
def test_a_target_that_does_not_vary_has_no_quality_to_speak_of(value: float):
    assert Forest(seed=0).fit(np.random.default_rng(0).random((20, 2)), np.full(20, value)).out_of_bag_r2() is None


def test_a_single_trial_is_seen_by_every_tree():
    forest = Forest(seed=0, trees=8).fit(np.zeros((1, 2)), np.ones(1))
    assert np.isnan(forest.out_of_bag()).all()
    assert forest.out_of_bag_r2() is None
    assert forest.predict(np.ones((3, 2))).mean.tolist() == [1, 1, 1]


def test_points_that_every_tree_has_seen_are_left_out():
    x = np.random.default_rng(0).random((12, 2))
    forest = Forest(seed=0, trees=2).fit(x, x[:, 0])
    assert np.isnan(forest.out_of_bag()).any()
    assert forest.out_of_bag_r2() is not None


def test_same_seed_same_forest(data: tuple[Floats, Floats]):
    one, same, other = (Forest(seed=s, trees=8).fit(*data).predict(data[0]).mean for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
