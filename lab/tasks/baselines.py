"""What any task's net is to be better than: a constant, and a linear model of its inputs.

Shapes: n examples, f features, c classes or labels, t values.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from lab.tasks.scored import quantile_of
from lab.tasks.task import Baseline, Data, Kind, Split, Task, defines, joined

_SIDE = 16
"""Pixels from which on the sides of images are brought down: a reference has to be cheap."""
_MOST_EXAMPLES = 10_000
_MOST_FEATURES = 10_000
_BATCH = 1024
_ITERATIONS = 200
_RIDGES = np.logspace(-2, 4, 7)


def linear_name(kind: Kind) -> str:
    """What the linear model of a kind of task is called."""
    return f"{'ridge' if kind == 'regression' else 'logistic'} regression (scikit-learn)"


def of_tensors(task: Task, seed: int) -> tuple[Baseline, ...]:
    """A constant, and a linear model of the task's inputs, where its targets are of its kind and its inputs numbers."""
    y = task.data("train")[1]
    if task.kind == "regression" and (not y.is_floating_point() or defines(task, "predict")):
        return ()  # its outputs are something else than its targets
    x = task.model_input(task.data("train")[0][:1])
    ordered = x.is_floating_point() and x.ndim > 1 and pooled(x).shape[1] <= _MOST_FEATURES and y.ndim <= 2
    linear = Baseline(linear_name(task.kind), partial(_fit_linear, task, seed))
    return (constant(task), *((linear,) if ordered else ()))


def constant(task: Task) -> Baseline:
    """The same answer to everything: the shares of classes or labels in the training examples, so that the commonest
    class is named; of values the mean or the median, whichever suits the task's metric on the training examples."""
    name = _answer(task, task.data("train")[1])[0]

    def fit(*splits: Split) -> Callable[[Split], Tensor]:
        _, value = _answer(task, _examples(task, splits)[1])
        return lambda split: value.expand(len(task.data(split)[1]), *value.shape[1:])

    return Baseline(name, fit)


def _examples(task: Task, splits: Sequence[Split]) -> Data:
    """Inputs and targets of several splits, of the training split where none is named."""
    return joined(task.data(split) for split in splits or ("train",))


def _answer(task: Task, y: Tensor) -> tuple[str, Tensor]:
    """What the constant is called, and its answer [1, ...], by targets [n, ...]."""
    if task.kind == "regression":
        middle, value = _middle(task, y)
        return f"always the {middle}", value
    if task.kind == "multilabel":
        return "always the shares of the labels", y.to(torch.float32).mean(dim=0, keepdim=True)
    classes = max(len(task.class_names), int(y.max()) + 1)
    shares = torch.bincount(y, minlength=classes).to(torch.float32) / len(y)
    number = int(shares.argmax())
    commonest = task.class_names[number] if task.class_names else number
    return f"always the commonest class ({commonest})", shares[None]


def _middle(task: Task, y: Tensor) -> tuple[str, Tensor]:
    """The better constant for the task's metric: its name, and a value for each output."""
    middles = {"mean": y.mean(dim=0, keepdim=True), "median": y.median(dim=0, keepdim=True).values}
    quantile = quantile_of(task.metric)
    if quantile is not None:
        middles[f"{quantile:g} quantile"] = torch.quantile(y.float(), quantile, dim=0, keepdim=True).to(y.dtype)
    sign = 1 if task.direction == "maximize" else -1
    metric = task.metrics[task.metric]
    scores = {name: sign * float(metric(value.expand_as(y), y)) for name, value in middles.items()}
    best = max(scores, key=lambda name: scores[name])
    return best, middles[best]


def pooled(x: Tensor) -> Tensor:
    """Inputs [n, ...] as features [n, f]; images [n, channels, h, w] are brought down to few pixels."""
    if x.ndim == 4 and max(x.shape[2:]) > _SIDE:
        x = nn.functional.adaptive_avg_pool2d(x, (min(x.shape[2], _SIDE), min(x.shape[3], _SIDE)))
    return x.flatten(1)


def _features(task: Task, x: Tensor) -> NDArray[np.float32]:
    parts = [pooled(task.model_input(x[i : i + _BATCH])).to(torch.float32) for i in range(0, len(x), _BATCH)]
    features: NDArray[np.float32] = torch.cat(parts).cpu().numpy()
    return features


def _fit_linear(task: Task, seed: int, *splits: Split) -> Callable[[Split], Tensor]:
    from sklearn.preprocessing import StandardScaler

    x, y = _examples(task, splits)
    classes = max(len(task.class_names), int(y.max()) + 1) if task.kind == "classification" else 0
    if len(x) > _MOST_EXAMPLES:
        rows = torch.from_numpy(np.random.default_rng(seed).permutation(len(x))[:_MOST_EXAMPLES])
        x, y = x[rows], y[rows]
    scaler = StandardScaler().fit(_features(task, x))
    predict = fit_linear(task.kind, scaler.transform(_features(task, x)), y.cpu().numpy(), classes)

    def of_split(split: Split) -> Tensor:
        x, y = task.data(split)
        prediction = predict(scaler.transform(_features(task, x)))
        return prediction.view_as(y) if task.kind == "regression" else prediction

    return of_split


def fit_linear(kind: Kind, x: Any, y: NDArray[Any], classes: int) -> Callable[[Any], Tensor]:
    """scikit-learn's linear model for a kind of task; what it predicts [n, c], or values [n, t].

    Args:
        x: features [n, f], dense or sparse, of about the same size each.
        classes: c of a classification; training may lack some.
    """
    from sklearn.linear_model import LogisticRegression, RidgeCV

    if kind == "regression":
        ridge = _quietly(RidgeCV(_RIDGES), x, y.reshape(len(y), -1))
        return lambda features: _float32(ridge.predict(features).reshape(features.shape[0], -1))
    if kind == "classification":
        model = _quietly(LogisticRegression(max_iter=_ITERATIONS), x, y)

        def probabilities(features: Any) -> Tensor:
            of_all = np.zeros((features.shape[0], classes))
            of_all[:, model.classes_.astype(int)] = model.predict_proba(features)
            return _float32(of_all)

        return probabilities
    labels = [
        float(column[0])
        if (column == column[0]).all()
        else _quietly(LogisticRegression(max_iter=_ITERATIONS), x, column)
        for column in y.T
    ]

    def of_each(features: Any) -> Tensor:
        n = features.shape[0]
        columns = [np.full(n, m) if isinstance(m, float) else m.predict_proba(features)[:, 1] for m in labels]
        return _float32(np.stack(columns, axis=1))

    return of_each


def _quietly(model: Any, x: Any, y: NDArray[Any]) -> Any:
    """A model that was trained; as far as it came in its iterations, it is a reference.

    Threads that wait for each other on a busy machine took a hundred times as long as one.
    """
    from sklearn.exceptions import ConvergenceWarning

    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x, y)


def _float32(values: NDArray[Any]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)
