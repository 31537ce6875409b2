"""Another study's trials: those that are points of the space, in Optuna's terms; a sampler that starts from them."""

from __future__ import annotations

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from lab.errors import SpecError
from lab.search import ForestSampler
from lab.search.by_name import sampler_source
from lab.search.observed import as_trials
from lab.spec.trial import Observation, Outcome

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "n": IntDistribution(1, 8),
    "k": CategoricalDistribution(("p", "q")),
}
POINT = {"lr": 0.01, "n": 4, "k": "p"}


def test_outcomes_become_states_that_a_sampler_reads():
    completed, pruned, diverged = as_trials(
        [
            Observation(POINT, Outcome.COMPLETED, 0.9, {1: 0.5, 2: 0.9}),
            Observation(POINT, Outcome.PRUNED, None, {1: 0.4}),
            Observation(POINT, Outcome.DIVERGED, None, {}),
        ],
        SPACE,
    )
    assert (completed.state, completed.value, completed.params) == (TrialState.COMPLETE, 0.9, POINT)
    assert (pruned.state, pruned.intermediate_values) == (TrialState.PRUNED, {1: 0.4})
    assert (diverged.state, diverged.user_attrs) == (TrialState.FAIL, {"outcome": "diverged"})


@pytest.mark.parametrize(
    "one",
    [
        Observation({**POINT, "lr": 2.0}, Outcome.COMPLETED, 0.9, {}),
        Observation({**POINT, "n": 9}, Outcome.COMPLETED, 0.9, {}),
        Observation({**POINT, "n": "4"}, Outcome.COMPLETED, 0.9, {}),
        Observation({**POINT, "k": "unseen"}, Outcome.COMPLETED, 0.9, {}),
        Observation({**POINT, "more": 1}, Outcome.COMPLETED, 0.9, {}),
        Observation(POINT, Outcome.FAILED, None, {}),
        Observation(POINT, Outcome.COMPLETED, None, {}),
    ],
)
def test_what_is_no_point_of_the_space_or_teaches_nothing_is_left_out(one: Observation):
    assert as_trials([one], SPACE) == []


def test_a_sampler_that_starts_warm_goes_to_what_is_known_to_be_good():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rates = [10.0 ** (-4 + number / 10) for number in range(41)]
    earlier = as_trials(
        [
            Observation({**POINT, "lr": r}, Outcome.COMPLETED, abs(number - 30) / 40, {})
            for number, r in enumerate(rates)
        ],
        SPACE,
    )

    def first(sampler: ForestSampler) -> list[float]:
        study = optuna.create_study(sampler=sampler)
        asked = []
        for _ in range(6):
            trial = study.ask(SPACE)
            asked.append(trial.params["lr"])
            study.tell(trial, abs(trial.params["lr"] - 0.1))
        return asked

    warm = first(ForestSampler(seed=0, space=SPACE, observed=earlier))
    assert all(0.02 < rate < 0.5 for rate in warm)
    assert warm == first(ForestSampler(seed=0, space=SPACE, observed=earlier))
    assert not all(0.02 < rate < 0.5 for rate in first(ForestSampler(seed=0, space=SPACE)))


def test_a_few_known_trials_shorten_the_start_and_no_more():
    few = as_trials([Observation({**POINT, "lr": 0.01 * n}, Outcome.COMPLETED, 0.1, {}) for n in range(1, 4)], SPACE)
    study, cold = optuna.create_study(), optuna.create_study()
    study.sampler, cold.sampler = ForestSampler(seed=0, space=SPACE, observed=few), ForestSampler(seed=0, space=SPACE)
    assert study.ask(SPACE).params == cold.ask(SPACE).params


def test_only_the_forest_starts_warm():
    earlier = as_trials([Observation(POINT, Outcome.COMPLETED, 0.1, {})], SPACE)
    with pytest.raises(SpecError, match="'tpe' takes no other study's trials"):
        sampler_source({"kind": "tpe"}, 0, SPACE, earlier)
