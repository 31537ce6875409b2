"""Samplers and pruners by the `kind` a spec names: the project's own, any of Optuna's, samplers of other packages."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from lab import plugins
from lab.errors import SpecError, nearest
from lab.response.encode import Conditions
from lab.search.forecast import ForestPruner
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
_OF_THE_STUDY = {"space", "seed", "known", "when", "costs"}
"""What the forest takes from the study, and not from the spec."""
SAMPLERS = ("forest", *_SAMPLERS, "optuna:CLASS")
PRUNERS = ("none", "forest", "optuna:CLASS")


def sampler_source(
    spec: Mapping[str, Any],
    seed: int,
    space: Mapping[str, BaseDistribution],
    observed: Sequence[FrozenTrial] = (),
    when: Conditions | None = None,
    costs: Sequence[str] = (),
) -> SamplerSource:
    """The samplers of a study.

    Args:
        when: at which values of others the space's conditional hyperparameters exist.
        observed: trials of another study, as prior observations.
        costs: what is traded off against the score.

    Raises:
        SpecError: unknown kind or option, or a kind that takes no prior observations.
    """
    options = dict(spec)
    kind = options.pop("kind", "forest")
    if kind == "forest":
        _check_options("search.sampler", ForestSampler, options, hidden=_OF_THE_STUDY)
        if costs and observed:
            raise SpecError("search.objectives", "cannot start warm: of another study's trials the score alone is read")
        fixed = {"seed": seed, "space": space, "observed": observed, "when": when, "costs": tuple(costs)}
        forest = _build("search.sampler", ForestSampler, {**fixed, **options})
        return lambda number: forest
    if observed:
        raise SpecError("search.sampler.kind", f"{kind!r} takes no other study's trials; choose 'forest' to start warm")
    cls = _registered(kind) or _optuna_class(
        "search.sampler", kind, optuna.samplers, (*SAMPLERS, *plugins.registered("lab.samplers"))
    )
    _check_options("search.sampler", cls, options, hidden={"seed"})
    if "seed" not in inspect.signature(cls).parameters:
        return _source("search.sampler", cls, lambda number: options)
    if cls is optuna.samplers.QMCSampler:  # one sequence, of which the storage counts the points
        fixed = {"seed": seed, "warn_independent_sampling": False, **options}
        return _source("search.sampler", cls, lambda number: fixed)
    return _source("search.sampler", cls, lambda number: {"seed": (seed * 1_000_003 + number) % 2**31, **options})


def sampler_options() -> dict[str, tuple[str, ...]]:
    """The options of each kind of sampler that a spec names in a word."""
    own = {"forest": _options(ForestSampler, _OF_THE_STUDY)}
    return own | {kind: _options(getattr(optuna.samplers, cls), {"seed"}) for kind, cls in _SAMPLERS.items()}


def pruner_options() -> dict[str, tuple[str, ...]]:
    """The options of each kind of pruner that a spec names in a word."""
    return {"none": _options(NopPruner, None), "forest": _options(ForestPruner, {"epochs", "seed"})}


def _options(cls: Any, hidden: set[str] | None) -> tuple[str, ...]:
    """What a class may be made with, but for what the study gives it."""
    return tuple(name for name in inspect.signature(cls).parameters if name not in (hidden or set()))


def free_proposals(sampler: BaseSampler, trials: int) -> int:
    """How many of a search's `trials` proposals, the first ones, depend on no result of it."""
    if isinstance(sampler, ForestSampler):
        return sampler.startup
    return trials if isinstance(sampler, optuna.samplers.RandomSampler) else 0


def _source(path: str, cls: Any, options: Callable[[int], Mapping[str, Any]]) -> SamplerSource:
    _build(path, cls, options(0))  # refused now rather than at the first proposal
    return lambda number: cast(BaseSampler, _build(path, cls, options(number)))


def build_pruner(spec: Mapping[str, Any], epochs: int, seed: int) -> BasePruner:
    """The pruner of a study whose whole trials have so many epochs.

    Raises:
        SpecError: unknown kind or option.
    """
    options = dict(spec)
    kind = options.pop("kind", "none")
    if kind == "none":
        _check_options("search.pruner", NopPruner, options)
        return NopPruner()
    if kind == "forest":
        _check_options("search.pruner", ForestPruner, options, hidden={"epochs", "seed"})
        forest = _build("search.pruner", ForestPruner, {"epochs": epochs, "seed": seed, **options})
        assert isinstance(forest, ForestPruner)
        return forest
    cls = _optuna_class("search.pruner", kind, optuna.pruners, PRUNERS)
    _check_options("search.pruner", cls, options)
    pruner = _build("search.pruner", cls, options)
    assert isinstance(pruner, BasePruner)
    return pruner


def _registered(kind: object) -> Any:
    """The class of a sampler that another package registers; None where none does, or where Optuna has it."""
    if not isinstance(kind, str) or kind in _SAMPLERS or ":" in kind:
        return None
    cls = plugins.load("lab.samplers", kind, "search.sampler.kind")
    if cls is not None and not (inspect.isclass(cls) and issubclass(cls, BaseSampler) and not inspect.isabstract(cls)):
        raise SpecError("search.sampler.kind", f"{kind!r} of another package is {cls!r}, which is no Optuna sampler")
    return cls


def _optuna_class(path: str, kind: object, module: Any, choices: tuple[str, ...]) -> Any:
    name = _SAMPLERS.get(kind, kind).removeprefix("optuna:") if isinstance(kind, str) else ""
    cls = getattr(module, name, None)
    if not inspect.isclass(cls) or inspect.isabstract(cls):
        hint = nearest(str(kind), choices)
        raise SpecError(f"{path}.kind", f"{kind!r} is unknown{hint}; choices: {', '.join(choices)}")
    return cls


def _build(path: str, cls: Any, options: Mapping[str, Any]) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # the spec has asked for it by name
            return cls(**options)
    except (TypeError, ValueError, ImportError) as error:
        raise SpecError(path, f"{cls.__name__}: {' '.join(str(error).split())}") from error


def _check_options(path: str, cls: Any, options: Mapping[str, Any], hidden: set[str] | None = None) -> None:
    allowed = set(_options(cls, hidden))
    for name in options:
        if name not in allowed:
            hint = nearest(name, allowed)
            raise SpecError(f"{path}.{name}", f"is unknown{hint}; allowed: {', '.join(sorted(allowed)) or 'none'}")
