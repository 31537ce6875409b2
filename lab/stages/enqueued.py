"""Settings that a user wants tried first: kept in the study's folder, and trials of the search like any other.

They take their share of `search.trials`, teach the sampler, and may be confirmed. What a setting does not say the
sampler proposes, as `optuna.Study.enqueue_trial` has it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from lab.errors import RecordError, SpecError, nearest
from lab.record.folder import Record, read_json, write_json
from lab.spec.distributions import distribution
from lab.spec.plain_values import as_plain
from lab.spec.space import Float, FromBounds, Params, Space, Value

_OPTION = "enqueue"
_LOG = logging.getLogger(__name__)


def checked(space: Space, setting: Mapping[str, Any], where: str = _OPTION) -> Params:
    """A setting of some or all hyperparameters of a space, in its own types.

    Raises:
        SpecError: a hyperparameter that is not searched, a value outside of its range, or one that does not exist
            beside the others.
    """
    if not isinstance(setting, Mapping) or not setting:
        raise SpecError(where, f"{setting!r} is not a mapping of hyperparameters to values")
    params: Params = {}
    setting = {name: as_plain(value) for name, value in setting.items()}
    for name in setting:
        if name not in space:
            names = ", ".join(space)
            raise SpecError(f"{where}.{name}", f"is not searched{nearest(str(name), space)}; searched are {names}")
    for name, dimension in space.items():
        if name not in setting:
            continue
        unmet = [parent for parent, values in dimension.when.items() if params.get(parent) not in values]
        if unmet:
            asked = ", ".join(f"{parent} in {list(dimension.when[parent])}" for parent in unmet)
            raise SpecError(f"{where}.{name}", f"exists only at {asked}; say that too, or leave it out")
        value = setting[name]
        if isinstance(dimension, FromBounds):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                raise SpecError(f"{where}.{name}", f"{value!r} is not a number above 0")
            params[name] = float(value)
        else:
            params[name] = _inside(f"{where}.{name}", distribution(dimension), value)
    return params


def _inside(path: str, searched: BaseDistribution, value: Any) -> Value:
    """A value as the distribution has it."""
    inside = False
    if isinstance(searched, CategoricalDistribution):
        for choice in searched.choices:
            if choice == value and isinstance(choice, bool) == isinstance(value, bool):  # True equals 1
                return cast(Value, choice)  # a space has no None
        raise SpecError(path, f"{value!r} is not one of {list(searched.choices)}")
    assert isinstance(searched, (FloatDistribution, IntDistribution))  # there are no others
    whole = isinstance(searched, IntDistribution)
    if isinstance(value, (int,) if whole else (int, float)) and not isinstance(value, bool):
        inside = searched.low <= value <= searched.high
    if not inside:
        what = "whole number" if whole else "number"
        raise SpecError(path, f"{value!r} is not a {what} from {searched.low:g} to {searched.high:g}")
    return int(value) if whole else float(value)


def add(record: Record, space: Space, settings: Sequence[Mapping[str, Any]]) -> None:
    """Keep settings in the study's folder; one that is there already stays as it is, so that a script may be run again.

    Raises:
        SpecError: as `checked`.
    """
    kept = _kept(record)
    more = [setting for setting in (checked(space, one) for one in settings) if setting not in kept]
    new = [setting for i, setting in enumerate(more) if setting not in more[:i]]
    if new:
        write_json(path_of(record), {"settings": [*kept, *new]})


def settings_of(record: Record, space: Space) -> tuple[Params, ...]:
    """What was enqueued, within a space whose bounds are known: a rate outside of what the range test found is brought
    to its nearer end, since trials lie in the space.

    Raises:
        RecordError: the file is damaged, or not of this study.
    """
    settings = []
    for setting in _kept(record):
        params = dict(setting)
        max_lr, dimension = params.get("max_lr"), space.get("max_lr")
        if isinstance(dimension, Float) and isinstance(max_lr, float) and not dimension.low <= max_lr <= dimension.high:
            params["max_lr"] = min(max(max_lr, dimension.low), dimension.high)
            at = f"{dimension.low:.3g} to {dimension.high:.3g}"
            _LOG.info("enqueued  max_lr %.3g lies outside of %s; %.3g is tried", max_lr, at, params["max_lr"])
        try:
            settings.append(checked(space, params))
        except SpecError as error:
            raise RecordError(f"{path_of(record)}: {error}") from None
    return tuple(settings)


def path_of(record: Record) -> Path:
    return record.folder / "enqueued.json"


def _kept(record: Record) -> list[Params]:
    if not path_of(record).exists():
        return []
    settings = read_json(path_of(record)).get("settings")
    if not isinstance(settings, list) or not all(isinstance(one, dict) for one in settings):
        raise RecordError(f"{path_of(record)}: holds no list of settings; restore it from a copy, or delete it")
    return settings
