"""When a search ends: by time, by its target, or when nothing is left to gain; and not otherwise."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution

from lab.search import ending
from lab.search.ending import Ending, forget
from lab.spec.plan import ENDED, Until

pytestmark = pytest.mark.usefixtures("quiet_optuna")

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        monkeypatch.setattr(ending.time, "monotonic", lambda: self.now_s)


def test_without_a_reason_it_never_ends():
    study = optuna.create_study()
    assert Ending(Until(), study, SPACE, 0).look() == ""
    assert study.user_attrs == {}


@pytest.mark.parametrize(
    ("direction", "best", "ends"),
    [("maximize", 0.95, True), ("maximize", 0.94, False), ("minimize", 0.95, True), ("minimize", 0.96, False)],
)
def test_a_target_is_reached_from_the_right_side(direction: str, best: float, ends: bool):
    study = optuna.create_study(direction=direction)
    one = Ending(Until(target_score=0.95), study, SPACE, 0)
    assert one.look() == ""
    study.add_trial(optuna.trial.create_trial(value=best))
    assert bool(one.look()) is ends
    assert bool(study.user_attrs.get(ENDED)) is ends


def test_what_has_ended_stays_ended_and_may_be_let_go_on():
    study = optuna.create_study(direction="maximize")
    study.add_trial(optuna.trial.create_trial(value=0.6))
    reason = Ending(Until(target_score=0.5), study, SPACE, 0).look()
    again = Ending(Until(target_score=0.5), study, SPACE, 0)
    assert again.reason == again.look() == reason == "score 0.6 has reached 0.5"
    forget(study)
    assert Ending(Until(target_score=0.7), study, SPACE, 0).look() == ""


def test_hours_are_those_of_work_and_not_of_breaks(monkeypatch: pytest.MonkeyPatch):
    clock = Clock(monkeypatch)
    study = optuna.create_study()
    first = Ending(Until(hours=1), study, SPACE, 0)
    clock.now_s += 2000
    assert first.look() == ""
    clock.now_s += 100_000  # the machine was off
    second = Ending(Until(hours=1), study, SPACE, 0)
    clock.now_s += 1500
    assert second.look() == ""
    clock.now_s += 200
    assert second.look() == "1 hours are over"


def _tell(study: optuna.Study, count: int, noise: float) -> None:
    for _ in range(count):
        number = len(study.trials)
        x, y = np.random.default_rng([7, number]).random(2).tolist()
        luck = noise * float(np.random.default_rng([8, number]).normal())
        trial = optuna.trial.create_trial(params={"x": x, "y": y}, distributions=SPACE, value=0.1 * x + luck)
        study.add_trial(trial)


def _ends_after(study: optuna.Study, until: Until, noise: float, most: int, anew: bool = False) -> int:
    """Trials told when it ends."""
    one = Ending(until, study, SPACE, 0)
    while len(study.trials) < most:
        if (Ending(until, study, SPACE, 0) if anew else one).look():
            break
        _tell(study, 1, noise)
    return len(study.trials)


def test_a_search_in_noise_ends_once_that_has_been_seen_for_long_enough():
    until = Until(gain_below_noise=True)
    count = _ends_after(optuna.create_study(), until, noise=1.0, most=80)
    assert 24 <= count < 80
    # Opened anew before every look, as if killed each time: it ends where it would have.
    assert _ends_after(optuna.create_study(), until, noise=1.0, most=80, anew=True) == count


def test_a_single_lucky_look_does_not_end_it(monkeypatch: pytest.MonkeyPatch):
    looks = iter([True] * 7 + [False] + [True] * 30)
    gains = {True: ending.Gain(0.1, 1.0), False: ending.Gain(1.0, 0.1)}
    monkeypatch.setattr(ending, "gain_of_next", lambda *_: gains[next(looks)])
    assert _ends_after(optuna.create_study(), Until(gain_below_noise=True), noise=1.0, most=60) == 16


def test_nobody_looks_twice_after_the_same_trials(monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []
    monkeypatch.setattr(ending, "gain_of_next", lambda trials, *_: asked.append(len(trials)))
    study = optuna.create_study()
    one = Ending(Until(gain_below_noise=True), study, SPACE, 0)
    for _ in range(3):
        one.look()
    _tell(study, 1, 0.0)
    one.look()
    assert asked == [0, 1]
