"""The forest search and its pruner, usable in plain Optuna.

optuna.create_study(sampler=ForestSampler(seed=0), pruner=ForestPruner(epochs=27))
"""

from lab.search.forecast import ForestPruner
from lab.search.forest import ForestSampler

__all__ = ["ForestPruner", "ForestSampler"]
