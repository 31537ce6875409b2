"""The forest search in plain Optuna: repeatable, never stuck, and better than chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

import lab
from lab.response.encode import Encoding
from lab.search import ForestSampler
from lab.search.history import read_history

pytestmark = pytest.mark.usefixtures("quiet_optuna")

Distributions = dict[str, BaseDistribution]

SPACE: Distributions = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "wd": FloatDistribution(0.0, 1.0),
    "depth": IntDistribution(1, 8),
    "act": CategoricalDistribution(("relu", "gelu", "silu")),
}


def _bowl(trial: optuna.Trial) -> float:
    lr, wd = trial.suggest_float("lr", 1e-4, 1.0, log=True), trial.suggest_float("wd", 0.0, 1.0)
    depth = trial.suggest_int("depth", 1, 8)
    act = trial.suggest_categorical("act", ("relu", "gelu", "silu"))
    return (np.log10(lr) + 2) ** 2 + 4 * (wd - 0.3) ** 2 + 0.05 * (depth - 5) ** 2 + 0.3 * (act != "gelu")


def _history(trials: int = 24, direction: str = "minimize") -> optuna.Study:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3), direction=direction)
    study.optimize(_bowl, n_trials=trials)
    return study


def _ask(study: optuna.Study, space: Distributions | None = None) -> tuple[object, ...]:
    return tuple(study.ask(space or SPACE).params.values())


def test_it_works_in_plain_optuna():
    study = optuna.create_study(sampler=lab.search.ForestSampler(seed=0))
    study.optimize(_bowl, n_trials=25)
    assert len(study.trials) == 25
    assert study.best_value < 0.7


@pytest.mark.parametrize("space", [None, SPACE])
def test_same_seed_and_history_give_the_same_proposal_from_a_fresh_sampler(space: Distributions | None):
    proposals = []
    for _ in range(2):
        study = _history()
        study.sampler = ForestSampler(seed=1, space=space)
        proposals.append([_ask(study) for _ in range(3)])
    assert proposals[0] == proposals[1]
    study = _history()
    study.sampler = ForestSampler(seed=2, space=space)
    assert _ask(study) != proposals[0][0]


def test_a_sampler_that_goes_on_proposes_as_a_fresh_one_does():
    kept = _history(17)
    kept.sampler = ForestSampler(seed=1, space=SPACE)
    for number in range(4):
        fresh = optuna.create_study(sampler=ForestSampler(seed=1, space=SPACE))
        fresh.add_trials(kept.trials)
        trial = kept.ask(SPACE)
        assert tuple(trial.params.values()) == _ask(fresh)
        kept.tell(trial, number)


def test_one_sampler_may_serve_two_studies():
    """Equal configurations, but with other scores: what was learnt in one must not be said in the other."""
    shared = ForestSampler(seed=1, space=SPACE)
    one, other = _history(), _history(direction="maximize")
    alone = _history(direction="maximize")
    one.sampler = other.sampler = shared
    alone.sampler = ForestSampler(seed=1, space=SPACE)
    assert _ask(one) != _ask(other) == _ask(alone)


@pytest.mark.parametrize("count", [0, 24])
def test_a_batch_asked_at_once_has_no_duplicates(count: int):
    study = _history(count)
    study.sampler = ForestSampler(seed=0, space=SPACE)
    assert len({_ask(study) for _ in range(32)}) == 32


def test_a_batch_from_a_small_discrete_space_has_no_duplicates():
    space: Distributions = {
        "a": IntDistribution(0, 9),
        "b": CategoricalDistribution((1, 2, 3, 4)),
        "c": FloatDistribution(0, 1, step=0.25),
    }
    study = optuna.create_study(sampler=ForestSampler(seed=0, space=space))
    for _ in range(24):
        trial = study.ask(space)
        study.tell(trial, (trial.params["a"] - 3) ** 2 + (trial.params["b"] - 2) ** 2 + trial.params["c"])
    assert len({_ask(study, space) for _ in range(32)}) == 32


def test_failed_pruned_and_diverged_trials_do_not_disturb_it():
    study = optuna.create_study(sampler=ForestSampler(seed=0, startup=8))

    def objective(trial: optuna.Trial) -> float:
        value = _bowl(trial)
        match trial.number % 6:
            case 1:
                trial.report(value, 1)
                raise optuna.TrialPruned
            case 2:
                raise optuna.TrialPruned
            case 3:
                trial.set_user_attr("outcome", "diverged")
                raise ArithmeticError("diverged")
            case 4:
                raise ValueError("failed")
            case 5:
                return float("nan")
        return value

    study.optimize(objective, n_trials=30, catch=(ArithmeticError, ValueError))
    assert len(study.trials) == 30


def test_it_keeps_away_from_where_trials_fail():
    study = optuna.create_study(sampler=ForestSampler(seed=0))

    def breaks(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        if x > 0.5:
            raise ValueError("failed")
        return x

    study.optimize(breaks, n_trials=36, catch=(ValueError,))
    tried = [trial.params["x"] for trial in study.trials]
    failed = [trial.params["x"] for trial in study.trials if trial.state == TrialState.FAIL]
    assert len(set(failed)) == len(failed)
    assert np.mean(np.array(tried[20:]) > 0.5) < 0.5
    assert study.best_value < 0.01


def test_a_preempted_trial_blames_no_setting():
    encoding = Encoding({"x": FloatDistribution(0, 1)})
    study = optuna.create_study()
    for outcome in ("failed", "out of memory", "preempted", "diverged", None):
        trial = study.ask(encoding.distributions)
        trial.set_user_attr("outcome", outcome)
        study.tell(trial, state=TrialState.FAIL)
    history = read_history(study.trials, encoding, study.direction)
    assert len(history.failed) == 3
    assert len(history) == 1  # the diverged one


@pytest.mark.parametrize(("value", "other"), [(1e308, -1e308), (np.inf, 1e308), (1e200, 1e-200), (3.0, 3.0)])
def test_scores_of_any_size_are_taken(value: float, other: float):
    study = optuna.create_study(sampler=ForestSampler(seed=0, startup=4))
    study.optimize(lambda trial: value if trial.suggest_float("x", -1, 1) > 0 else other, n_trials=12)
    assert len({trial.params["x"] for trial in study.trials}) == 12


@pytest.mark.parametrize("seed", [-1, "a", 1.5, None, True])
def test_a_seed_that_is_none_is_refused(seed: Any):
    with pytest.raises(ValueError, match="is not a whole number of at least 0"):
        ForestSampler(seed=seed)


def test_it_keeps_away_from_where_trials_diverge():
    study = optuna.create_study(sampler=ForestSampler(seed=0, space=SPACE))
    outcomes = []
    for _ in range(48):
        trial = study.ask(SPACE)
        if trial.params["lr"] > 0.01:
            trial.set_user_attr("outcome", "diverged")
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, -np.log10(trial.params["lr"]))
        outcomes.append(trial.params["lr"] > 0.01)
    assert np.mean(outcomes[24:]) < 0.4 * 0.9
    assert study.best_params["lr"] > 0.005


def test_equal_scores_are_no_trouble():
    study = optuna.create_study(sampler=ForestSampler(seed=0, space=SPACE, startup=2))
    for _ in range(12):
        study.tell(study.ask(SPACE), 1.0)


def test_conditional_parameters_may_be_missing_from_the_history():
    space: Distributions = {"a": CategoricalDistribution((0, 1)), "b": FloatDistribution(0, 1)}
    study = optuna.create_study(sampler=ForestSampler(seed=0, space=space, startup=4))
    for _ in range(16):
        trial = study.ask()
        a = trial.suggest_categorical("a", (0, 1))
        study.tell(trial, 1 - trial.suggest_float("b", 0, 1) if a else 0.9)
    assert study.best_value < 0.2


def test_a_space_of_one_point_is_proposed():
    space: Distributions = {"a": CategoricalDistribution(("x",)), "b": IntDistribution(3, 3)}
    study = optuna.create_study(sampler=ForestSampler(seed=0, space=space, startup=0))
    assert {_ask(study, space) for _ in range(4)} == {("x", 3)}


def test_several_objectives_are_refused():
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=ForestSampler(space=SPACE))
    with pytest.raises(ValueError, match="one objective"):
        study.ask(SPACE)


def test_proposals_stay_within_the_distributions():
    study = _history(20)
    study.sampler = ForestSampler(seed=5, space=SPACE)
    for _ in range(16):
        trial = study.ask(SPACE)
        study.add_trial(create_trial(params=trial.params, distributions=SPACE, value=0.0))  # checks each value


def test_it_goes_to_the_bottom_of_a_smooth_bowl():
    def best(sampler: optuna.samplers.BaseSampler) -> float:
        study = optuna.create_study(sampler=sampler)
        study.optimize(
            lambda t: (
                (np.log10(t.suggest_float("lr", 1e-4, 1.0, log=True)) + 2) ** 2
                + 4 * (t.suggest_float("wd", 0.0, 1.0) - 0.3) ** 2
            ),
            n_trials=32,
        )
        return study.best_value

    space = {name: SPACE[name] for name in ("lr", "wd")}
    forest = [best(ForestSampler(seed=s, space=space)) for s in range(3)]
    chance = [best(optuna.samplers.RandomSampler(seed=s)) for s in range(3)]
    assert max(forest) < 0.1 * min(chance), (forest, chance)


NESTED: Distributions = {
    "kind": CategoricalDistribution(("adamw", "lion", "sgd")),
    "momentum": FloatDistribution(0.0, 1.0),
    "damping": FloatDistribution(0.0, 1.0),
}
WHEN = {"momentum": {"kind": ("sgd",)}, "damping": {"kind": ("sgd",)}}


def _nested(study: optuna.Study, trials: int) -> list[dict[str, Any]]:
    """Settings tried where one branch alone has anything to tune, and that only there is it worth while."""
    for _ in range(trials):
        trial = study.ask()
        kind = trial.suggest_categorical("kind", ("adamw", "lion", "sgd"))
        cost = {"adamw": 0.3, "lion": 0.35, "sgd": 0.1}[kind]
        if kind == "sgd":
            cost += sum((trial.suggest_float(n, 0.0, 1.0) - 0.4) ** 2 for n in ("momentum", "damping"))
        study.tell(trial, cost)
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("seed", range(2))
def test_a_branch_that_has_nothing_to_tune_is_not_tried_over_and_over(seed: int):
    study = optuna.create_study(sampler=ForestSampler(seed=seed, space=NESTED, when=WHEN, startup=6))
    tried = [params["kind"] for params in _nested(study, 30)[6:]]
    assert tried.count("sgd") > 16, "the others have one setting each"
    assert study.best_value < 0.11


def test_what_does_not_exist_is_not_proposed():
    sampler = ForestSampler(seed=0, space=NESTED, when=WHEN, startup=4)
    study = optuna.create_study(sampler=sampler)
    for _ in range(12):
        trial = study.ask()
        proposed = sampler.sample_relative(study, study.trials[-1], NESTED)
        assert ("momentum" in proposed) == (proposed["kind"] == "sgd")
        study.tell(trial, float(trial.suggest_categorical("kind", ("adamw", "lion", "sgd")) != "sgd"))


@pytest.mark.parametrize(("noise", "believed"), [(0.0, False), (1.0, False), (0.0, True), (1.0, True)])
def test_later_even_points_reach_every_part_of_the_space(noise: float, believed: bool):
    """The first coordinate of every eighth point of one Sobol sequence stays within a quarter of its range."""
    space: Distributions = {"a": FloatDistribution(0, 1), "b": FloatDistribution(0, 1)}
    prior = {"a": {"center": 0.5, "spread": 0.5}} if believed else None
    sampler = ForestSampler(seed=0, space=space, prior=prior)
    encoding = Encoding(space)
    runs = [(1 + aside % 2, aside // 2) for aside in range(64) if not noise or aside % 2]
    points = np.concatenate([sampler._even(encoding, run, index) for run, index in runs])
    for column in range(2):
        assert np.histogram(points[:, column], bins=4, range=(0, 1))[0].min() >= len(points) / 16


def test_a_batch_after_nothing_but_divergence_spreads_out():
    space: Distributions = {"a": FloatDistribution(0, 1), "b": FloatDistribution(0, 1)}
    study = optuna.create_study(sampler=ForestSampler(seed=0, space=space, explore_every=1000))
    for _ in range(12):
        study.tell(study.ask(space), float("inf"))
    asked = np.array([list(study.ask(space).params.values()) for _ in range(16)])
    apart = np.linalg.norm(asked[:, None] - asked[None], axis=2) + np.eye(len(asked))
    assert apart.min() > 0.02
