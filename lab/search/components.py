"""Samplers and pruners by the `kind` a spec names: the project's own, and any of Optuna's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler

from lab.errors import SpecError, nearest
from lab.search.forest import ForestSampler

SamplerSource: TypeAlias = Callable[[int], BaseSampler]
"""From a trial's number to the sampler that proposes it: an Optuna sampler is built anew, seeded by the number,
so that its random state, too, follows from (seed, history)."""

_SAMPLERS = {
    "random": "RandomSampler",
    "tpe": "TPESampler",
    "gp": "GPSampler",
    "qmc": "QMCSampler",
}
SAMPLERS = ("forest", *_SAMPLERS, "optuna:CLASS")
PRUNERS = ("none", "optuna:CLASS")


def sampler_source(spec: Mapping[str, Any], seed: int, space: Mapping[str, BaseDistribution]) -> SamplerSource:
    """The samplers of a study.

    Raises:
        SpecError: unknown kind or option.
    """
    options = dict(spec)
    kind = options.pop("kind", "forest")
    if kind == "forest":
        _check_options("search.sampler", ForestSampler, options, hidden={"space", "seed"})
        forest = ForestSampler(seed=seed, space=space, **options)
        return lambda number: forest
    cls = _optuna_class("search.sampler", _SAMPLERS.get(kind, kind), optuna.samplers, SAMPLERS)
    _check_options("search.sampler", cls, options, hidden={"seed"})
    if "seed" not in inspect.signature(cls).parameters:
        return lambda number: cls(**options)
    if cls is optuna.samplers.QMCSampler:  # one sequence, of which the storage counts the points
        return lambda number: cls(seed=seed, warn_independent_sampling=False, **options)
    return lambda number: cls(seed=(seed * 1_000_003 + number) % 2**31, **options)


def build_pruner(spec: Mapping[str, Any]) -> BasePruner:
    """A study's pruner.

    Raises:
        SpecError: unknown kind or option.
    """
    options = dict(spec)
    kind = options.pop("kind", "none")
    if kind == "none":
        _check_options("search.pruner", NopPruner, options)
        return NopPruner()
    cls = _optuna_class("search.pruner", kind, optuna.pruners, PRUNERS)
    _check_options("search.pruner", cls, options)
    pruner = cls(**options)
    assert isinstance(pruner, BasePruner)
    return pruner


def _optuna_class(place: str, kind: str, module: Any, choices: tuple[str, ...]) -> Any:
    name = kind.removeprefix("optuna:")
    cls = getattr(module, name, None)
    if not inspect.isclass(cls) or inspect.isabstract(cls):
        hint = nearest(kind, choices)
        raise SpecError(f"{place}.kind", f"{kind!r} is unknown{hint}; choices: {', '.join(choices)}")
    return cls


def _check_options(place: str, cls: Any, options: Mapping[str, Any], hidden: set[str] | None = None) -> None:
    allowed = set(inspect.signature(cls).parameters) - (hidden or set())
    for name in options:
        if name not in allowed:
            hint = nearest(name, allowed)
            raise SpecError(f"{place}.{name}", f"is unknown{hint}; allowed: {', '.join(sorted(allowed)) or 'none'}")
