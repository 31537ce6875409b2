"""The forest search, usable in plain Optuna: `optuna.create_study(sampler=lab.search.ForestSampler(seed=0))`."""

from lab.search.forest import ForestSampler

__all__ = ["ForestSampler"]
