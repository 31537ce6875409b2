"""Three sentences that a practitioner can act on, from artefacts of known content."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.report.verdict import surely_good, verdict
from lab.response.findings import Coverage, Effect, Extrapolation, Importance, Interaction, Region, Side
from lab.stages.explain import Explained, Gain, TreeStd

FOLDER = Path("/runs/my study")


def _effect(name: str, values: list[Any], mean: list[float]) -> Effect:
    return Effect(name, tuple(values), tuple(mean), tuple(mean), tuple(mean))


RATES = [10.0 ** (-4 + i / 5) for i in range(21)]


def explained(**changes: Any) -> Explained:
    plain = Explained(
        trials=64,
        explains="accuracy",
        explains_direction="maximize",
        out_of_bag_r2=0.64,
        believe_from=0.2,
        withheld=None,
        tree_std=TreeStd(0.01, 0.02),
        importances=None,
        measures={
            "permutation": {
                "dropout": Importance(0.03, 0.0, 0.06),
                "max_lr": Importance(0.8, 0.7, 0.9),
                "model": Importance(0.15, 0.1, 0.2),
            }
        },
        effects=(
            _effect("max_lr", RATES, [-abs(i - 10.0) for i in range(21)]),
            _effect("model", ["small", "large"], [0.1, 0.3]),
            _effect("dropout", RATES, [0.0] * 21),
        ),
        interactions=(Interaction(("max_lr", "dropout"), h=0.3, share=0.02, low=0.01, high=0.03),),
        coverage=(Coverage(level=0.8, share=0.81, width=2.0),),
        extrapolation=Extrapolation(auc=0.6, thin_share=0.02, by={}),
        gain=Gain(expected=0.1, noise=0.4, below_noise=True),
    )
    return replace(plain, **changes)


def test_what_matters_is_named_with_its_share_and_where_it_is_best():
    text = verdict(explained(), FOLDER).matters
    assert text == (
        "max_lr (70 to 90 %, best 0.004 to 0.025) and model (10 to 20 %, best large) decide accuracy; dropout hardly "
        "matters. No pair acts together by much: each may be chosen by itself."
    )


def test_where_a_score_is_minimised_the_best_is_the_least():
    effects = [_effect("max_lr", RATES, [abs(i - 10.0) for i in range(21)]), _effect("model", ["s", "l"], [0.1, 0.3])]
    text = verdict(explained(explains_direction="minimize", effects=effects), FOLDER).matters
    assert "best 0.004 to 0.025" in text
    assert "best s)" in text


def test_what_decides_among_the_best_is_named_where_it_is_clear():
    sentence = "Among the best quarter of the space it is dropout that matters most (60 to 90 %)."
    rate, model = Importance(0.2, 0.1, 0.5), Importance(0.1, 0.0, 0.3)
    clear = {"dropout": Importance(0.7, 0.6, 0.9), "max_lr": rate, "model": model}
    unclear = clear | {"max_lr": Importance(0.65, 0.2, 0.8)}
    the_same = {"dropout": model, "max_lr": Importance(0.7, 0.6, 0.9), "model": model}
    for region, said in ((clear, True), (unclear, False), (the_same, False), (None, False), ({}, False)):
        measures = explained().measures | ({} if region is None else {"good_region": region})
        assert (sentence in verdict(explained(measures=measures), FOLDER).matters) is said
        assert ("Among the best" in verdict(explained(measures=measures), FOLDER).matters) is said


def test_a_pair_that_acts_together_is_named():
    pair = Interaction(("max_lr", "dropout"), h=0.6, share=0.2, low=0.15, high=0.3)
    assert "The best max_lr depends on dropout (15 to 30 %): choose them together." in (
        verdict(explained(interactions=(pair,)), FOLDER).matters
    )


@pytest.mark.parametrize(("r2", "word"), [(0.9, "well"), (0.6, "fairly"), (0.3, "roughly")])
def test_how_sure_is_said_in_a_word_and_in_numbers(r2: float, word: str):
    text = verdict(explained(out_of_bag_r2=r2), FOLDER).sure
    assert f"not seen {word}: {100 * r2:.0f} % of what they differ by (out-of-bag R² {r2:.2f})" not in text
    assert f"not seen {word}: {100 * r2:.0f} % (out-of-bag R² {r2:.2f}) of what they differ by" in text
    assert "81 % of them lie in its 80 % intervals" in text
    assert "extrapolated" not in text


def test_space_without_trials_is_told():
    thin = Extrapolation(auc=0.9, thin_share=0.4, by={})
    assert "In 40 % of the space hardly a trial was made" in verdict(explained(extrapolation=thin), FOLDER).sure


def test_what_is_withheld_is_not_told_and_why():
    answer = verdict(explained(withheld="out-of-bag R2 0.05 is below 0.2", out_of_bag_r2=0.05, measures={}), FOLDER)
    assert answer.matters == "It cannot be said: out-of-bag R2 0.05 is below 0.2."
    assert answer.sure.startswith("Not at all: of trials it has not seen, the forest predicts 5 %")
    nothing = verdict(explained(withheld="all trials score the same", out_of_bag_r2=None, measures={}), FOLDER)
    assert nothing.sure == "All trials score the same, so there is nothing to be sure of."


def test_an_edge_comes_first_with_the_command_that_widens_it():
    widen = {"max_lr": "space.max_lr={low: 0.001, high: 2, log: true}", "dropout": "space.dropout.low=0.1"}
    answer = verdict(explained(edges={"max_lr": "high", "dropout": "low"}, widen=widen), FOLDER)
    assert "the largest max_lr and the smallest dropout" in answer.next
    assert answer.next.endswith(
        "Within it a further trial is expected to gain 0.25 of what another seed alone changes."
    )
    assert answer.command == (
        "lab study extend '/runs/my study' --trials +32 --set 'space.max_lr={low: 0.001, high: 2, log: true}' "
        "--set space.dropout.low=0.1"
    )


def test_whether_to_go_on_follows_from_the_gain():
    assert verdict(explained(), FOLDER).command is None
    assert "0.25 of what another seed alone changes: search no further" in verdict(explained(), FOLDER).next
    more = verdict(explained(gain=Gain(expected=0.8, noise=0.4, below_noise=False)), FOLDER)
    assert "2 times what another seed changes: go on" in more.next
    assert more.command == "lab study extend '/runs/my study' --trials +32"
    few = verdict(explained(gain=None, trials=6), FOLDER)
    assert few.next.startswith("Too few trials")
    assert few.command == "lab study extend '/runs/my study' --trials +16"


REGION = Region(
    sides=(
        Side("max_lr", (0.004, 0.03), between=True, whole=False),
        Side("dropout", (0.0, 0.6), between=True, whole=True),
        Side("model", ("large",), between=False, whole=False),
    ),
    share=0.123,
    sure=0.91,
    margin=0.0042,
    best={"max_lr": 0.01, "dropout": 0.1, "model": "large"},
)


@pytest.mark.parametrize("withheld", [None, "out-of-bag R2 0.05 is below 0.2"])
def test_what_is_as_good_is_said_also_where_the_forest_is_not_believed(withheld: str | None):
    explain = explained(region=REGION, withheld=withheld)
    assert verdict(explain, FOLDER).good == (
        "As good as the best but for 0.0042, about what another seed changes: max_lr 0.004 to 0.03, model large and "
        "any dropout. That is 12 % of the space, and 91 % of it are expected to be as good."
    )
    assert ", best" not in verdict(explain, FOLDER).matters
    assert verdict(explained(), FOLDER).good == ""
    assert "fresh seeds" not in verdict(explain, FOLDER, dict(REGION.best)).good
    chosen = {"max_lr": 0.1, "dropout": 0.5, "model": "small"}
    assert verdict(explain, FOLDER, chosen).good.endswith(
        " The best setup, which fresh seeds have chosen, lies outside by max_lr 0.1 and model small."
    )
    assert "outside" not in verdict(explain, FOLDER, {"max_lr": 0.03004}).good, "it is read as .03"
    good = surely_good(explain, "max_lr")
    assert good is not None
    assert good.hold(0.01)
    assert not good.hold(0.1)
    assert surely_good(explain, "dropout") is None


def test_what_decides_stands_first_among_what_is_as_good():
    sides = (Side("dropout", (0.0, 0.1), between=True, whole=False), *REGION.sides[::2])
    free = Side("cycles", (1, 2), between=False, whole=True)
    said = "max_lr 0.004 to 0.03 and model large, beside dropout 0 to 0.1"
    assert f"changes: {said}. That" in verdict(explained(region=replace(REGION, sides=sides)), FOLDER).good
    region = replace(REGION, sides=(*sides, free))
    assert f"changes: {said} and any cycles. That" in verdict(explained(region=region), FOLDER).good
