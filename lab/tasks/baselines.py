"""What any task's net is to be better than, and may be averaged with: scikit-learn's models of the same examples.

Shapes: n examples, f features, c classes or labels.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from lab.tasks.scored import quantile_of
from lab.tasks.several_targets import Part
from lab.tasks.task import Baseline, Data, Kind, Task, defines

_SIDE = 16
"""Pixels from which on the sides of images are brought down: a reference has to be cheap."""
_MOST_EXAMPLES = 10_000
_MOST_FEATURES = 10_000
_BATCH = 1024
_ITERATIONS = 200
_RIDGES = np.logspace(-2, 4, 7)


def of_tensors(task: Task, seed: int) -> tuple[Baseline, ...]:
    """A constant, and a linear model of the task's inputs, where its targets are of its kind and its inputs numbers."""
    x, y = task.data("train")
    if task.kind == "regression" and (not y.is_floating_point() or defines(task, "predict")):
        return ()  # its outputs are something else than its targets
    if task.kind == "classification" and y.ndim != 1:
        return ()  # a class for each of several parts of an example
    ordered = _are_features(task.model_input(x[:1])) and y.ndim <= 2
    return (constant(task), *((_linear(linear_name(task.kind), linear_model(task.kind)),) if ordered else ()))


def of_values(task: Task, parts: Sequence[Part]) -> tuple[Baseline, ...]:
    """The same where values [n, t] are predicted, as they are; or, by a model of its own each, several targets of
    different kinds.

    Args:
        parts: these targets; none: values alone.
    """
    always = constant_of(task, parts)
    if not _are_features(task.model_input(task.data("train")[0][:1])):
        return (always,)
    return always, replace(_linear(*linear_of("regression", parts, linear_model)), joins=not parts)


def constant_of(task: Task, parts: Sequence[Part]) -> Baseline:
    """The same answer to everything; of several targets of different kinds, each target's."""
    from sklearn.dummy import DummyClassifier, DummyRegressor

    if not parts:
        return constant(task)
    each = _of_each(parts, lambda kind: DummyRegressor() if kind == "regression" else DummyClassifier(strategy="prior"))
    return Baseline("the commonest class and the mean of each target", each, joins=False)


def linear_of(kind: Kind, parts: Sequence[Part], make: Callable[[Kind], Any]) -> tuple[str, Any]:
    """A linear model of a kind of task, or one for each of several targets of different kinds, and what it is called.

    Args:
        make: of a kind, an untrained model.
    """
    if not parts:
        return linear_name(kind), make(kind)
    return f"{linear_name('classification')} and {linear_name('regression')}", _of_each(parts, make)


def _of_each(parts: Sequence[Part], make: Callable[[Kind], Any]) -> Any:
    from lab.tasks.table.each_target import OfEachTarget

    classes = [part.outputs if part.kind == "classification" else 0 for part in parts]
    return OfEachTarget([make("classification" if count else "regression") for count in classes], classes)


def _linear(name: str, model: Any) -> Baseline:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return Baseline(name, make_pipeline(StandardScaler(), model), most_examples=_MOST_EXAMPLES)


def _are_features(one: Tensor) -> bool:
    """Whether a linear model can learn of an input [1, ...] as the model takes it."""
    return one.is_floating_point() and one.ndim > 1 and pooled(one).shape[1] <= _MOST_FEATURES


def constant(task: Task) -> Baseline:
    """The same answer to everything: the shares of classes or labels in the training examples, so that the commonest
    class is named; of values the mean or the median, whichever suits the task's metric on the training examples."""
    from sklearn.dummy import DummyClassifier, DummyRegressor

    y = task.data("train")[1]
    if task.kind == "regression":
        name, of_values = _middle(task, y)
        return Baseline(f"always the {name}", DummyRegressor(**of_values), joins=False)
    name = "always the shares of the labels"
    if task.kind == "classification":
        number = int(torch.bincount(y).argmax())
        name = f"always the commonest class ({task.class_names[number] if task.class_names else number})"
    return Baseline(name, DummyClassifier(strategy="prior"), joins=False)


def _middle(task: Task, y: Tensor) -> tuple[str, dict[str, Any]]:
    """The better constant for the task's metric: its name, and how scikit-learn is told of it."""
    flat = y.double().reshape(len(y), -1)
    ways: dict[str, dict[str, Any]] = {"mean": {"strategy": "mean"}, "median": {"strategy": "median"}}
    values = {"mean": flat.mean(dim=0), "median": flat.quantile(0.5, dim=0)}
    quantile = quantile_of(task.metric)
    if quantile is not None:
        name = f"{quantile:g} quantile"
        ways[name] = {"strategy": "quantile", "quantile": quantile}
        values[name] = flat.quantile(quantile, dim=0)
    sign = 1 if task.direction == "maximize" else -1
    metric = task.metrics[task.metric]
    scores = {
        name: sign * float(metric(value.to(y.dtype).view(y.shape[1:]).expand_as(y), y))
        for name, value in values.items()
    }
    best = max(scores, key=lambda name: scores[name])
    return best, ways[best]


def linear_name(kind: Kind) -> str:
    """What the linear model of a kind of task is called."""
    return f"{'ridge' if kind == 'regression' else 'logistic'} regression (scikit-learn)"


def linear_model(kind: Kind) -> Any:
    """scikit-learn's linear model for a kind of task; it asks for features of about the same size each."""
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.multiclass import OneVsRestClassifier

    if kind == "regression":
        return RidgeCV(_RIDGES)
    model = LogisticRegression(max_iter=_ITERATIONS)
    return OneVsRestClassifier(model) if kind == "multilabel" else model


def pooled(x: Tensor) -> Tensor:
    """Inputs [n, ...] as features [n, f]; images [n, channels, h, w] are brought down to few pixels."""
    if x.ndim == 4 and max(x.shape[2:]) > _SIDE:
        x = nn.functional.adaptive_avg_pool2d(x, (min(x.shape[2], _SIDE), min(x.shape[3], _SIDE)))
    return x.flatten(1)


def flat_features(task: Task, x: Tensor) -> NDArray[np.float32]:
    """Inputs [n, ...] as the model takes them, flat [n, f]; images are brought down to few pixels."""
    parts = [pooled(task.model_input(x[i : i + _BATCH])).to(torch.float32) for i in range(0, len(x), _BATCH)]
    features: NDArray[np.float32] = torch.cat(parts).cpu().numpy()
    return features


def fit_baseline(task: Task, baseline: Baseline, seed: int, data: Data | None = None) -> Any:
    """The baseline's estimator, trained on these examples, or on the training split; as far as it came in its
    iterations, it is a reference."""
    from sklearn.base import clone
    from sklearn.exceptions import ConvergenceWarning

    x, y = data or task.data("train")
    if baseline.most_examples is not None and len(x) > baseline.most_examples:
        rows = torch.from_numpy(np.random.default_rng(seed).permutation(len(x))[: baseline.most_examples])
        x, y = x[rows], y[rows]
    target = y.cpu().numpy()
    if task.kind == "multilabel":
        target = target.astype(np.int64).reshape(len(target), -1)
    elif task.kind == "regression" and target[0].size == 1:
        target = target.reshape(len(target))  # as scikit-learn wants one value
    # BLAS threads that wait for each other on a busy machine took a hundred times as long as one.
    with threadpool_limits(limits=1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "Label .* is present in all training examples", UserWarning)
        estimator = clone(baseline.estimator).fit(task.features(x), target)
    if "n_jobs" in estimator.get_params():
        estimator.set_params(n_jobs=1)  # threads would add up the votes of trees in any order
    return estimator


def prediction_of(estimator: Any, task: Task, x: Tensor, shape: Sequence[int]) -> Tensor:
    """What a trained baseline predicts for inputs [n, ...], as `Task.predict` would: probabilities in float64, or
    values.

    Args:
        shape: that of one example's prediction: (c,) or that of its values; training may lack some classes.
    """
    features = task.features(x)
    if task.kind == "regression":
        return torch.tensor(estimator.predict(features), dtype=torch.float32).reshape(len(x), *shape)
    probabilities = estimator.predict_proba(features)
    if isinstance(probabilities, list):  # one array [n, 1 or 2] for each label
        pairs = zip(probabilities, estimator.classes_, strict=True)
        of_labels = np.stack([_of_one(p, classes) for p, classes in pairs], axis=1)
        return torch.tensor(of_labels, dtype=torch.float64).reshape(len(x), *shape)
    if task.kind == "multilabel":
        return torch.tensor(probabilities, dtype=torch.float64).reshape(len(x), *shape)
    of_all = np.zeros((len(x), *shape))
    of_all[:, estimator.classes_.astype(int)] = probabilities
    return torch.tensor(of_all, dtype=torch.float64)


def _of_one(probabilities: NDArray[np.float64], classes: NDArray[Any]) -> NDArray[np.float64]:
    """P(label = 1) [n]; a label that is constant in the training examples has one column only."""
    if len(classes) == 1:
        return np.full(len(probabilities), float(classes[0]))
    of_true: NDArray[np.float64] = probabilities[:, 1]
    return of_true
