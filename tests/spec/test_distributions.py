"""A search space in Optuna's terms."""

import optuna
import pytest

from lab.errors import SpecError
from lab.spec.distributions import distribution, distributions, suggest
from lab.spec.space import Choice, Float, FromBounds, Int, Space

SPACE = Space(a=Float(0, 1), b=Float(1, 2, log=True), c=Int(1, 8, log=True), d=Choice(("x", True)))


def test_distributions_are_the_space_in_optunas_terms() -> None:
    in_optuna = distributions(SPACE)
    assert in_optuna == {
        "a": optuna.distributions.FloatDistribution(0, 1),
        "b": optuna.distributions.FloatDistribution(1, 2, log=True),
        "c": optuna.distributions.IntDistribution(1, 8, log=True),
        "d": optuna.distributions.CategoricalDistribution(("x", True)),
    }


def test_what_is_suggested_is_distributed_as_the_space_says() -> None:
    trial = optuna.create_study().ask()
    for name, dimension in SPACE.items():
        suggest(trial, name, dimension)
    assert trial.distributions == distributions(SPACE)


def test_what_the_range_test_has_yet_to_find_is_no_distribution() -> None:
    unresolved = FromBounds()
    with pytest.raises(SpecError, match="from: bounds"):
        distribution(unresolved)
    with pytest.raises(SpecError, match=r"space\.max_lr: .*from: bounds"):
        suggest(optuna.create_study().ask(), "max_lr", unresolved)
