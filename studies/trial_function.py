"""A trial function: a generator that trains anything, here logistic regression by hand in NumPy.

It yields one mapping of metrics per epoch. It leaves no weights, so its study ends with the confirmed setup.
"""

from collections.abc import Iterator

import numpy as np
from scipy.special import expit
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

import lab


@lab.trial_function(metric="accuracy", direction="maximize")
def train(trial: lab.Trial) -> Iterator[dict[str, float]]:
    """Logistic regression with momentum; the trial's schedule says lr, momentum and weight decay of every step."""
    x, y = load_breast_cancer(return_X_y=True)
    train_x, valid_x, train_y, valid_y = train_test_split(x, y, test_size=0.3, stratify=y, random_state=0)
    mean, std = train_x.mean(axis=0), train_x.std(axis=0)
    train_x, valid_x = (train_x - mean) / std, (valid_x - mean) / std
    curves = trial.schedule.curves(None, trial.epochs)
    rng = np.random.default_rng(trial.seed)
    weights, velocity = rng.normal(0, 0.1, train_x.shape[1]), np.zeros(train_x.shape[1])
    for lr, momentum, weight_decay in zip(*curves, strict=True):
        error = expit(train_x @ weights) - train_y
        velocity = momentum * velocity + train_x.T @ error / len(error)
        weights -= lr * (velocity + weight_decay * weights)
        yield {"accuracy": float(((valid_x @ weights > 0) == valid_y).mean())}
