"""Samplers and pruners are found by kind; what is unknown is refused with the choices."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from lab.errors import SpecError
from lab.search import ForestPruner
from lab.search.by_name import build_pruner, sampler_source
from lab.search.forest import ForestSampler

SPACE = {"x": optuna.distributions.FloatDistribution(0, 1)}


@pytest.mark.parametrize(
    ("kind", "cls"),
    [
        ("random", "RandomSampler"),
        ("tpe", "TPESampler"),
        ("qmc", "QMCSampler"),
        ("optuna:NSGAIISampler", "NSGAIISampler"),
        ("optuna:BruteForceSampler", "BruteForceSampler"),
    ],
)
def test_a_kind_names_a_sampler(kind: str, cls: str):
    source = sampler_source({"kind": kind}, 0, SPACE)
    assert type(source(0)).__name__ == type(source(7)).__name__ == cls


def test_the_forest_is_the_default_and_knows_its_space():
    sampler = sampler_source({"startup": 3}, 5, SPACE)(0)
    assert isinstance(sampler, ForestSampler)
    study = optuna.create_study(sampler=sampler)
    study.ask()
    assert set(sampler.infer_relative_search_space(study, study.trials[0])) == {"x"}


def test_an_optuna_sampler_proposes_by_seed_and_number_alone():
    def proposal(seed: int, number: int) -> float:
        sampler = sampler_source({"kind": "random"}, seed, SPACE)(number)
        return optuna.create_study(sampler=sampler).ask().suggest_float("x", 0, 1)

    assert proposal(1, 2) == proposal(1, 2)
    assert len({proposal(1, 2), proposal(1, 3), proposal(2, 2)}) == 3


def test_pruners_are_optunas():
    assert isinstance(build_pruner({}, 27, 0), optuna.pruners.NopPruner)
    assert isinstance(build_pruner({"kind": "none"}, 27, 0), optuna.pruners.NopPruner)
    pruner = build_pruner({"kind": "optuna:PatientPruner", "wrapped_pruner": None, "patience": 3}, 27, 0)
    assert isinstance(pruner, optuna.pruners.PatientPruner)


def test_the_forest_prunes_too():
    assert isinstance(build_pruner({"kind": "forest", "startup": 4}, 27, 0), ForestPruner)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"kind": "tpee"},
            r"search\.sampler\.kind: 'tpee' is unknown \(did you mean 'tpe'\?\); choices: forest, random",
        ),
        ({"kind": "optuna:Nothing"}, r"search\.sampler\.kind: 'optuna:Nothing' is unknown"),
        ({"kind": "optuna:BaseSampler"}, r"search\.sampler\.kind: 'optuna:BaseSampler' is unknown"),
        ({"kind": "optuna:warnings"}, "is unknown"),
        ({"kind": 5}, r"search\.sampler\.kind: 5 is unknown; choices: forest"),
        ({"kind": ["tpe"]}, r"search\.sampler\.kind: \['tpe'\] is unknown"),
        ({"kind": None}, r"search\.sampler\.kind: None is unknown"),
        ({"kind": "forest", "startups": 3}, r"search\.sampler\.startups: is unknown \(did you mean 'startup'\?\)"),
        ({"kind": "forest", "seed": 3}, r"search\.sampler\.seed: is unknown"),
        (
            {"kind": "forest", "explore_every": 0},
            r"search\.sampler: ForestSampler: explore_every 0 is not a whole number of at ",
        ),
        ({"kind": "forest", "startup": "x"}, r"search\.sampler: ForestSampler: "),
        (
            {"kind": "forest", "prior": "x"},
            r"search\.sampler: ForestSampler: prior: 'x' is not a mapping of hyperparam",
        ),
        ({"kind": "forest", "prior": {"x": 3}}, r"search\.sampler: ForestSampler: prior\.x: 3 is not {center: "),
        ({"kind": "tpe", "n_startup": 3}, r"search\.sampler\.n_startup: is unknown"),
        ({"kind": "optuna:GridSampler"}, r"search\.sampler: GridSampler: .*search_space"),
    ],
)
def test_a_sampler_that_cannot_be_built_is_refused_at_once(spec: dict[str, Any], message: str):
    with pytest.raises(SpecError, match=message) as caught:
        sampler_source(spec, 0, SPACE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "median"}, r"search\.pruner\.kind: 'median' is unknown; choices: none, forest, optuna:CLASS"),
        ({"kind": 1}, r"search\.pruner\.kind: 1 is unknown"),
        (
            {"kind": "forest", "epochs": 9},
            r"search\.pruner\.epochs: is unknown; allowed: factor, first, share, startup",
        ),
        (
            {"kind": "forest", "first": 28},
            r"search\.pruner: ForestPruner: first 28 is above 9: 27 epochs over factor 3",
        ),
        ({"kind": "forest", "share": 2}, r"search\.pruner: ForestPruner: share 2 is not between 0 and 1"),
        ({"kind": "none", "a": 1}, r"search\.pruner\.a: is unknown; allowed: none"),
        ({"kind": "optuna:PercentilePruner"}, r"search\.pruner: PercentilePruner: .*percentile"),
        ({"kind": "optuna:PercentilePruner", "percentile": 200}, r"search\.pruner: PercentilePruner: "),
        ({"kind": "optuna:MedianPruner", "warmup": 1}, r"search\.pruner\.warmup: is unknown"),
    ],
)
def test_a_pruner_that_cannot_be_built_is_refused_at_once(spec: dict[str, Any], message: str):
    with pytest.raises(SpecError, match=message) as caught:
        build_pruner(spec, 27, 0)
    assert "\n" not in str(caught.value)
