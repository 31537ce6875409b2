"""The response in three plain sentences: what matters, how sure that is, and what to try next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.report.number import number
from lab.response.findings import Importance, Interaction, Side
from lab.spec.space import Params, Value
from lab.stages.explain import Explained

_MATTERS, _ACTS_TOGETHER = 0.1, 0.1
_MORE_AT_LEAST = 16
_WORDS = ((0.8, "well"), (0.5, "fairly"), (0.0, "roughly"))
"""How well a forest of at least such an out-of-bag R2 predicts."""


@dataclass(frozen=True)
class Verdict:
    """Each one or two sentences; `command` is what to type for the last, where there is something."""

    matters: str
    good: str
    """Which settings are as good as the best; empty where that is not known."""
    sure: str
    next: str
    command: str | None


def verdict(explain: Explained, folder: Path, setup: Params | None = None) -> Verdict:
    """What an explain artefact says.

    Args:
        setup: what fresh seeds have chosen, where they have.
    """
    good = _good(explain) + _outside(explain, setup or {})
    return Verdict(_matters(explain), good, _sure(explain), *_next(explain, folder))


def _matters(explain: Explained) -> str:
    if explain.withheld:
        return f"It cannot be said: {explain.withheld}."
    shares, order, main = explain.measures["permutation"], _by_share(explain), deciding(explain)
    sayings = [f"{name} ({_span(shares[name])}{_where(explain, name)})" for name in main]
    rest = [name for name in order if name not in main]
    text = f"{_listed(sayings)} {'decides' if len(sayings) == 1 else 'decide'} {explain.explains}"
    text += f"; {_listed(rest)} hardly {'matters' if len(rest) == 1 else 'matter'}." if rest else "."
    text += _among_the_best(explain.measures.get("good_region", {}), main)
    pairs = explain.interactions
    if pairs and pairs[0].low >= _ACTS_TOGETHER:
        first, second = pairs[0].names
        text += f" The best {first} depends on {second} ({_span(pairs[0])}): choose them together."
    elif pairs:
        text += " No pair acts together by much: each may be chosen by itself."
    return text


def deciding(explain: Explained) -> list[str]:
    """The hyperparameters that matter, most first; one at least."""
    shares, order = explain.measures["permutation"], _by_share(explain)
    return [name for name in order if shares[name].share >= _MATTERS] or order[:1]


def _by_share(explain: Explained) -> list[str]:
    shares = explain.measures["permutation"]
    return sorted(shares, key=lambda name: -shares[name].share)


def _among_the_best(shares: Mapping[str, Importance], main: list[str]) -> str:
    """What decides once the settings are good, where that is none of what was told and lies clear of all others."""
    first = max(shares, key=lambda name: shares[name].low, default=None)
    if first is None or first in main or any(shares[first].low <= shares[n].share for n in shares if n != first):
        return ""
    return f" Among the best quarter of the space it is {first} that matters most ({_span(shares[first])})."


def _good(explain: Explained) -> str:
    region = explain.region
    if region is None:
        return ""
    sides = {side.name: f"{side.name} {_values_of(side).text}" for side in region.sides if not side.whole}
    main = [sides.pop(name) for name in deciding(explain) if name in sides] if not explain.withheld else []
    rest = [side.name for side in region.sides if side.whole]
    free = [f"any {_listed(rest)}"] if rest else []
    where = _listed([*main, *sides.values(), *free])
    if main and sides:
        where = f"{_listed(main)}, beside {_listed([*sides.values(), *free])}"
    text = f"As good as the best but for {number(region.margin, 2)}, about what another seed changes: {where}"
    share = "all" if region.share == 1 else f"{100 * region.share:.2g} %"
    return f"{text}. That is {share} of the space, and {_percent(region.sure)} of it are expected to be as good."


def _outside(explain: Explained, setup: Params) -> str:
    """Where the setup has values that the region lacks: scores on fresh seeds have chosen it, and not the forest."""
    beside = [
        f"{name} {number(value, 2)}"
        for name, value in setup.items()
        if (good := surely_good(explain, name)) is not None
        and not good.hold(value)
        and number(value, 2) not in {number(end, 2) for end in good.values}  # as a reader sees them
    ]
    return f" The best setup, which fresh seeds have chosen, lies outside by {_listed(beside)}." if beside else ""


def _values_of(side: Side) -> GoodValues:
    return GoodValues(side.values, side.between and len(side.values) > 1)


def surely_good(explain: Explained, name: str) -> GoodValues | None:
    """The values at which settings are as good as the best, together with those of the others; None where that is not
    known, or any value is."""
    sides = explain.region.sides if explain.region else ()
    return next((_values_of(side) for side in sides if side.name == name and not side.whole), None)


def _span(share: Importance | Interaction) -> str:
    low, high = round(100 * share.low), round(100 * share.high)
    return f"{low} %" if low == high else f"{low} to {high} %"


def _where(explain: Explained, name: str) -> str:
    """Where an effect is best, for people; nothing where a region says what is good of all together."""
    good = good_values(explain, name) if explain.region is None else None
    return "" if good is None else f", best {good.text}"


@dataclass(frozen=True)
class GoodValues:
    """Values of a hyperparameter that lose little against its best: some of them, or all between two."""

    values: tuple[Value, ...]
    between: bool

    @property
    def text(self) -> str:
        return (" to " if self.between else " or ").join(number(value, 2) for value in self.values)

    def hold(self, value: Value) -> bool:
        """Whether a value is one of them."""
        if not self.between or isinstance(value, str):
            return value in self.values
        low, high = (float(end) for end in self.values)
        return low <= value <= high


def good_values(explain: Explained, name: str) -> GoodValues | None:
    """The values around the best that lose less than a quarter of what there is to lose; None where nothing is known of
    it."""
    effect = next((e for e in explain.effects if e.name == name), None)
    if effect is None:
        return None
    sign = 1 if explain.explains_direction == "maximize" else -1
    mean = [sign * value for value in effect.mean]
    best = max(range(len(mean)), key=lambda i: mean[i])
    near = mean[best] - 0.25 * (mean[best] - min(mean))
    values = effect.values
    if any(isinstance(value, (str, bool)) for value in values) or len(values) <= 10:
        good = (value for value, worth in zip(values, mean, strict=True) if worth >= near)
        return GoodValues(tuple(good), between=False)
    first = last = best
    while first > 0 and mean[first - 1] >= near:
        first -= 1
    while last < len(mean) - 1 and mean[last + 1] >= near:
        last += 1
    return GoodValues((values[first], values[last]), between=True)


def _sure(explain: Explained) -> str:
    r2 = explain.out_of_bag_r2
    if r2 is None:
        return "All trials score the same, so there is nothing to be sure of."
    if explain.withheld:
        text = (
            f"Not at all: of trials it has not seen, the forest predicts {_share(r2)} of what they differ by; from "
            f"{_percent(explain.believe_from)} on it would be asked."
        )
    else:
        word = next(word for least, word in _WORDS if r2 >= least)
        text = f"The forest predicts trials that it has not seen {word}: {_share(r2)} of what they differ by"
        for first in explain.coverage[:1]:
            text += f", and {_percent(first.share)} of them lie in its {_percent(first.level)} intervals"
        text += "."
    thin = explain.extrapolation.thin_share if explain.extrapolation else 0.0
    if thin >= _MATTERS:
        text += f" In {_percent(thin)} of the space hardly a trial was made: what is said there is extrapolated."
    return text


def _next(explain: Explained, folder: Path) -> tuple[str, str | None]:
    more = f"+{max(_MORE_AT_LEAST, explain.trials // 2)}"
    extend = f"lab study extend {shlex.quote(str(folder))} --trials {more}"
    gain = explain.gain
    ratio = gain.expected / gain.noise if gain and gain.noise > 0 else float("inf")
    widen = explain.widen
    if widen:
        sets = " ".join(f"--set {shlex.quote(setting)}" for setting in widen.values())
        what = _listed([f"the {'largest' if explain.edges[n] == 'high' else 'smallest'} {n}" for n in widen])
        text = f"The best settings lie at the edge of the space, at {what} allowed: widen it."
        if gain and gain.below_noise:
            text += f" Within it a further trial is expected to gain {ratio:.2g} of what another seed alone changes."
        return text, f"{extend} {sets}"
    if gain is None:
        return "Too few trials to say what another would gain: make more.", extend
    if gain.below_noise:
        text = f"A further trial is expected to gain {ratio:.2g} of what another seed alone changes: search no further."
        return f"{text} Longer training, more data or another model would change more than these settings.", None
    return f"A further trial is expected to gain {ratio:.2g} times what another seed changes: go on searching.", extend


def _share(r2: float) -> str:
    return f"{_percent(max(r2, 0))} (out-of-bag R² {r2:.2f})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""
