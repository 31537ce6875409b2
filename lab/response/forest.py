"""The random forest that models the response: score as a function of the hyperparameters.

Extremely randomised trees (Geurts et al. 2006) on bootstrap samples: random cuts follow smooth responses better than
optimised ones, and the bootstrap leaves every trial unseen by a third of the trees, which is where all honesty about
the forest comes from (out-of-bag R2, calibrated intervals).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.tree import BaseDecisionTree

Floats = NDArray[np.float64]
Variance = Literal["trees", "total"]

_MOST_DRAWN = 1024
"""Trials that one tree is shown at most; the forest as a whole sees all of them, and stays fast."""


class Prediction(NamedTuple):
    """Mean and standard deviation, each [n]."""

    mean: Floats
    std: Floats


class Forest:
    """scikit-learn's extra trees, laid open, with an honest measure of their quality.

    Leaves hold at least two trials, so a single lucky score cannot make a leaf of its own.
    """

    def __init__(self, seed: int, trees: int = 100) -> None:
        self._seed, self._count = seed, trees

    def fit(self, features: Floats, target: Floats) -> Forest:
        """Fit to features [n, f], all of them numbers, and target [n]; n >= 1."""
        from sklearn.tree import ExtraTreeRegressor  # here: the first trials of a search need no forest

        model = ExtraTreeRegressor(min_samples_leaf=2)
        self._trees, self._unseen = grown(model, features, target, self._seed, self._count, _MOST_DRAWN)
        self._features, self._target = features, target
        return self

    def trees(self, features: Floats) -> Floats:
        """What each tree predicts, [trees, n]."""
        x = features.astype(np.float32)
        return np.stack([tree.predict(x)[:, 0] for tree in self._trees])

    def predict(self, features: Floats, variance: Variance = "trees") -> Prediction:
        """The mean over the trees, and a standard deviation.

        Args:
            variance: `trees`, how far the trees disagree (what is not known of the mean); `total`, plus the mean
                variance of the trials within a leaf (what a further trial would show; the law of total variance).
        """
        if variance == "trees":
            trees = self.trees(features)
            return Prediction(trees.mean(axis=0), trees.std(axis=0))
        trees, within = self._leaves(features)
        return Prediction(trees.mean(axis=0), np.sqrt(trees.var(axis=0) + within.mean(axis=0)))

    def _leaves(self, features: Floats) -> tuple[Floats, Floats]:
        """Mean and variance of the leaf in which a point lies, each [trees, n]."""
        x = features.astype(np.float32)
        means, variances = [], []
        for tree in self._trees:
            leaf = tree.apply(x)
            means.append(tree.value[leaf, 0, 0])
            variances.append(tree.impurity[leaf])
        return np.stack(means), np.maximum(np.stack(variances), 0)

    def out_of_bag(self, rows: NDArray[np.int64] | None = None) -> Prediction:
        """What the trees that have not seen a training point say of it, with the total variance; each [m].

        NaN where every tree has seen it.

        Args:
            rows: of the training points, those that are asked for [m]; all of them where none are named.
        """
        mean, between, within, _ = self._left_out(rows)
        return Prediction(mean, np.sqrt(between + within))

    def _left_out(self, rows: NDArray[np.int64] | None = None) -> tuple[Floats, Floats, Floats, NDArray[np.int64]]:
        """By the trees that have not seen a training point: mean, variance between and within them, and their number;
        each [m], of the rows asked for."""
        unseen = self._unseen if rows is None else self._unseen[:, rows]
        trees, within = self._leaves(self._features if rows is None else self._features[rows])
        count = unseen.sum(axis=0)
        mean, square, inner = (_mean_where(unseen, x, count) for x in (trees, trees**2, within))
        return mean, np.maximum(square - mean**2, 0), inner, count

    def out_of_bag_r2(self) -> float | None:
        """1 - residual / total sum of squares, out of bag; None where the target does not vary."""
        predicted = self.out_of_bag().mean
        seen = np.isfinite(predicted)
        target = self._target[seen]
        total = float(((target - target.mean()) ** 2).sum()) if seen.any() else 0.0
        if total <= 1e-12 * max(1.0, float(np.abs(self._target).max()) ** 2):
            return None
        return 1.0 - float(((target - predicted[seen]) ** 2).sum()) / total

    def intervals(self, features: Floats, level: float) -> tuple[Floats, Floats]:
        """Ends [n] of the interval in which a further trial's score lies with probability `level`.

        Conformal: the total standard deviation, widened by the quantile of the errors made out of bag in units of it
        (Johansson et al. 2014), so it covers what it says whatever the distribution; infinite where too few trials
        are known for such a level. Errors out of bag are those of fewer trees, and are scaled to what all would make.
        """
        mean, std = self.predict(features, "total")
        reach = self._conformal(level) * (std + self._floor())
        return mean - reach, mean + reach

    def _conformal(self, level: float) -> float:
        mean, between, within, count = self._left_out()
        seen = count > 1
        mean, between, within, count = mean[seen], between[seen], within[seen], count[seen]
        between = between * count / (count - 1)
        std = np.sqrt(between + within) + self._floor()
        errors = np.sort(np.abs(self._target[seen] - mean) / std)
        rank = int(np.ceil(level * (len(errors) + 1)))
        if not 1 <= rank <= len(errors):
            return np.inf
        # The third of the trees that has not seen a trial errs more than all of them will of a new one.
        too_much = between * (1 / count - 1 / self._count) / std**2
        share = float(too_much.sum() / max((errors**2).sum(), 1e-300))
        return float(errors[rank - 1] * np.sqrt(max(1 - share, 0.0)))

    def _floor(self) -> float:
        """Where leaves agree by chance the spread is 0, and no factor could widen it."""
        return 1e-3 * float(self._target.std()) + 1e-12


def grown(
    model: BaseDecisionTree, features: Floats, target: NDArray[Any], seed: int, count: int, most: int
) -> tuple[list[Any], NDArray[np.bool_]]:
    """Trees on bootstrap samples of n points, and for each of them which points it was not shown [count, n].

    They are those of scikit-learn's ensembles to the last bit, which spend three quarters of their time on copying the
    model and checking its parameters, the same for all trees.

    Args:
        model: how a tree is grown; it is given the random state.
        features: [n, f], all of them numbers.
        target: [n]
        most: points of a sample.
    """
    import sklearn

    x, y = np.ascontiguousarray(features, dtype=np.float32), np.array(target, dtype=np.float64)[:, None]
    n = len(y)
    model.random_state = random = np.random.RandomState(seed)
    seeds = random.randint(np.iinfo(np.int32).max, size=count)
    trees, unseen = [], np.empty((count, n), dtype=bool)
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        for seed_of_tree, not_shown in zip(seeds, unseen, strict=True):
            random.seed(seed_of_tree)
            times = np.bincount(random.randint(n, size=min(n, most)), minlength=n)
            np.equal(times, 0, out=not_shown)
            random.seed(seed_of_tree)
            trees.append(model.fit(x, y, sample_weight=times.astype(np.float64), check_input=False).tree_)
    return trees, unseen


def _mean_where(mask: NDArray[np.bool_], values: Floats, count: NDArray[np.int64]) -> Floats:
    total = np.where(mask, values, 0.0).sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0))
