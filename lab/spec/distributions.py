"""A search space in Optuna's terms."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from lab.errors import SpecError
from lab.spec.space import Choice, Dimension, Float, Int, Space


def distribution(dimension: Dimension) -> BaseDistribution:
    """A dimension in Optuna's terms."""
    match dimension:
        case Float(low, high, log):
            return FloatDistribution(low, high, log=log)
        case Int(low, high, log):
            return IntDistribution(low, high, log=log)
        case Choice(options):
            return CategoricalDistribution(options)
        case _:
            raise SpecError("space", "'from: bounds' is unresolved; stage 'bounds' has to run first")


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """A space in Optuna's terms."""
    return {name: distribution(dimension) for name, dimension in space.items()}


def conditions(space: Space) -> dict[str, dict[str, tuple[Any, ...]]]:
    """The values of other hyperparameters at which each conditional one exists."""
    return {name: dict(dimension.when) for name, dimension in space.items() if dimension.when}


def suggest(trial: optuna.Trial, name: str, dimension: Dimension) -> Any:
    """A trial's value of a hyperparameter, as its sampler proposes it."""
    match dimension:
        case Float(low, high, log):
            return trial.suggest_float(name, low, high, log=log)
        case Int(low, high, log):
            return trial.suggest_int(name, low, high, log=log)
        case Choice(options):
            return trial.suggest_categorical(name, options)
    raise SpecError(f"space.{name}", "'from: bounds' is unresolved")
