"""Schedules of every kind: some to name, and as many as hypothesis wants, each with what it must keep to."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st

from lab.schedules import (
    FGE,
    KINDS,
    SGDR,
    WSD,
    Constant,
    Cyclical,
    FineTune,
    FlatCosine,
    Join,
    OneCycle,
    Polynomial,
    Ramp,
    Scale,
    Schedule,
    SlantedTriangular,
    Snapshot,
    Step,
    Warmup,
)

PLAIN: dict[str, Schedule] = {
    "one_cycle": OneCycle(max_lr=1),
    "snapshot": Snapshot(max_lr=1),
    "sgdr": SGDR(max_lr=1),
    "cyclical": Cyclical(max_lr=1),
    "fge": FGE(max_lr=1),
    "flat_cosine": FlatCosine(max_lr=1),
    "wsd": WSD(max_lr=1),
    "slanted_triangular": SlantedTriangular(max_lr=1),
    "fine_tune": FineTune(max_lr=1),
    "polynomial": Polynomial(max_lr=1),
    "step": Step(max_lr=1),
    "constant": Constant(max_lr=1),
    "ramp": Ramp(),
    "join": Join(parts=(FlatCosine(max_lr=1), FGE(max_lr=0.5)), shares=(2, 1)),
    "warmup": Warmup(schedule=SGDR(max_lr=1), share=0.1),
    "scale": Scale(schedule=OneCycle(max_lr=1), factor=0.5),
}
"""One schedule of each kind, with its defaults where it has them."""

CHECK = settings(max_examples=60, deadline=None, derandomize=True, database=None)

lrs = st.floats(1e-6, 10)
divs = st.floats(1, 1e6)
shares = st.floats(0.01, 0.99)
momenta = st.floats(0, 0.99)
counts = st.integers(1, 12)
decays = st.floats(0, 1)
totals = st.integers(1, 10_000)


def _low(draw: st.DrawFn, max_lr: float) -> float | None:
    return draw(st.none() | st.floats(0, max_lr))


@st.composite
def one_cycles(draw: st.DrawFn) -> OneCycle:
    three = draw(st.booleans())
    low, high = sorted((draw(momenta), draw(momenta)))
    return OneCycle(
        max_lr=draw(lrs),
        pct_start=draw(st.floats(0.01, 0.49 if three else 0.99)),
        div=draw(divs),
        final_div=draw(divs),
        momentum_low=low,
        momentum_high=high,
        anneal=draw(st.sampled_from(["cosine", "linear"])),
        three_phase=three,
        weight_decay=draw(decays),
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    peak = draw(lrs)
    warmup = draw(st.just(0.0) | st.floats(0, 0.99))
    return Snapshot(max_lr=peak, min_lr=_low(draw, peak), cycles=draw(counts), final_div=draw(divs), warmup=warmup)


@st.composite
def sgdrs(draw: st.DrawFn) -> SGDR:
    peak = draw(lrs)
    length = draw(st.sampled_from([{}, {"cycles": draw(counts)}, {"period": draw(st.integers(1, 500))}]))
    growth = draw(st.sampled_from([1.0, 2.0, 1.5, 1.1, 0.9, 3.0]) | st.floats(0.5, 4))
    return SGDR(max_lr=peak, min_lr=_low(draw, peak), T_mul=growth, decay=draw(st.floats(0.1, 1)), **length)


@st.composite
def cyclicals(draw: st.DrawFn) -> Cyclical:
    peak = draw(lrs)
    length = draw(st.sampled_from([{}, {"cycles": draw(counts)}, {"step_size": draw(st.integers(1, 500))}]))
    mode = draw(st.sampled_from(["triangular", "triangular2", "exp_range"]))
    return Cyclical(
        max_lr=peak, min_lr=_low(draw, peak), div=draw(divs), mode=mode, gamma=draw(st.floats(0.9, 1)), **length
    )


@st.composite
def fges(draw: st.DrawFn) -> FGE:
    peak = draw(lrs)
    length = draw(st.sampled_from([{}, {"cycles": draw(counts)}, {"period": draw(st.integers(2, 500))}]))
    return FGE(max_lr=peak, min_lr=_low(draw, peak), div=draw(divs), **length)


@st.composite
def flat_cosines(draw: st.DrawFn) -> FlatCosine:
    peak = draw(lrs)
    return FlatCosine(max_lr=peak, min_lr=_low(draw, peak), pct_start=draw(st.just(0.0) | shares))


@st.composite
def wsds(draw: st.DrawFn) -> WSD:
    peak, warmup = draw(lrs), draw(st.just(0.0) | st.just(1.0) | shares)
    cooldown = draw(st.just(0.0) | st.floats(0, 1 - warmup))
    shape = draw(st.sampled_from(["1-sqrt", "linear"]))
    return WSD(max_lr=peak, min_lr=_low(draw, peak), warmup=warmup, cooldown=cooldown, shape=shape, div=draw(divs))


@st.composite
def polynomials(draw: st.DrawFn) -> Polynomial:
    peak = draw(lrs)
    return Polynomial(max_lr=peak, min_lr=_low(draw, peak), power=draw(st.floats(0.1, 5)), final_div=draw(divs))


@st.composite
def steps(draw: st.DrawFn) -> Step:
    milestones = sorted(draw(st.sets(shares, max_size=5)))
    return Step(max_lr=draw(lrs), milestones=tuple(milestones), gamma=draw(st.floats(0.01, 1)))


fine_tunes = st.builds(
    FineTune,
    max_lr=lrs,
    frozen=shares,
    gradual=st.booleans(),
    pct_start=shares,
    div=divs,
    final_div=divs,
    lr_divisor=st.none() | st.floats(1, 100),
)
slanted = st.builds(SlantedTriangular, max_lr=lrs, cut_frac=shares, ratio=divs, momentum=momenta)
constants = st.builds(Constant, max_lr=lrs, momentum=momenta, weight_decay=decays)
ramps = st.builds(Ramp, start=st.floats(1e-9, 1e-3), end=st.floats(1e-2, 100), exponential=st.booleans())

SIMPLE: dict[str, st.SearchStrategy[Schedule]] = {
    "one_cycle": one_cycles(),
    "snapshot": snapshots(),
    "sgdr": sgdrs(),
    "cyclical": cyclicals(),
    "fge": fges(),
    "flat_cosine": flat_cosines(),
    "wsd": wsds(),
    "slanted_triangular": slanted,
    "fine_tune": fine_tunes,
    "polynomial": polynomials(),
    "step": steps(),
    "constant": constants,
    "ramp": ramps,
}
simple = st.one_of(*SIMPLE.values())


@st.composite
def joins(draw: st.DrawFn, inside: st.SearchStrategy[Schedule]) -> Join:
    parts = draw(st.lists(inside, min_size=1, max_size=3))
    lengths = draw(st.lists(st.integers(1, 300), min_size=len(parts) - 1, max_size=len(parts) - 1))
    weights = draw(st.lists(st.floats(0.1, 5), min_size=len(parts), max_size=len(parts)))
    return Join(parts=tuple(parts), **draw(st.sampled_from([{}, {"steps": lengths}, {"shares": weights}])))


def warmups(inside: st.SearchStrategy[Schedule]) -> st.SearchStrategy[Warmup]:
    return st.builds(Warmup, schedule=inside, share=shares, steps=st.none() | st.integers(1, 300), div=divs)


def scales(inside: st.SearchStrategy[Schedule]) -> st.SearchStrategy[Scale]:
    return st.builds(Scale, schedule=inside, factor=st.floats(0.01, 100))


STRATEGIES: dict[str, st.SearchStrategy[Schedule]] = {
    **SIMPLE,
    "join": joins(simple),
    "warmup": warmups(simple),
    "scale": scales(simple),
}
assert set(STRATEGIES) == set(PLAIN) == set(KINDS)

schedules = st.recursive(simple, lambda inside: st.one_of(joins(inside), warmups(inside), scales(inside)), max_leaves=4)


class Ends(NamedTuple):
    """lr of the first and the last of two or more steps, and the bounds of all."""

    start: float
    final: float
    low: float
    high: float


def low_of(s: Schedule, div: float) -> float:
    return s.max_lr / div if s.min_lr is None else s.min_lr


def _sgdr(s: SGDR, total: int) -> Ends:
    low = low_of(s, s.final_div)
    return Ends(s.max_lr, low, low, s.max_lr)


def _wsd(s: WSD, total: int) -> Ends:
    start = s.max_lr / s.div if s.warmup else s.max_lr
    final = low_of(s, s.final_div) if s.cooldown else s.max_lr
    return Ends(start, final, min(start, final), s.max_lr)


def _snapshot(s: Snapshot, total: int) -> Ends:
    start, low = s.max_lr / 25 if s.warmup else s.max_lr, low_of(s, s.final_div)
    return Ends(start, low, min(start, low), s.max_lr)


def _one_cycle(s: OneCycle, total: int) -> Ends:
    start, final = s.max_lr / s.div, s.max_lr / s.final_div
    return Ends(start, final, min(start, final), s.max_lr)


def _fine_tune(s: FineTune, total: int) -> Ends:
    start, peak = s.max_lr / 25, s.max_lr / 2
    alone = total - s._unfrozen_from(total) == 1  # a phase of one step has its starting value
    final = peak / (s.div if alone else s.final_div)
    return Ends(start, final, min(start, s.max_lr / 1e5, peak / s.div, peak / s.final_div), s.max_lr)


ENDS: dict[str, Callable[[Schedule, int], Ends]] = {
    "one_cycle": _one_cycle,
    "snapshot": _snapshot,
    "sgdr": _sgdr,
    "cyclical": lambda s, _: Ends(low_of(s, s.div), low_of(s, s.div), low_of(s, s.div), s.max_lr),
    "fge": lambda s, _: Ends(s.max_lr, s.max_lr, low_of(s, s.div), s.max_lr),
    "flat_cosine": lambda s, _: Ends(s.max_lr, low_of(s, s.final_div), low_of(s, s.final_div), s.max_lr),
    "wsd": _wsd,
    "slanted_triangular": lambda s, _: Ends(s.max_lr / s.ratio, s.max_lr / s.ratio, s.max_lr / s.ratio, s.max_lr),
    "fine_tune": _fine_tune,
    "polynomial": lambda s, _: Ends(s.max_lr, low_of(s, s.final_div), low_of(s, s.final_div), s.max_lr),
    "step": lambda s, _: Ends(s.max_lr, *[s.max_lr * s.gamma ** len(s.milestones)] * 2, s.max_lr),
    "constant": lambda s, _: Ends(s.max_lr, s.max_lr, s.max_lr, s.max_lr),
    "ramp": lambda s, _: Ends(s.start, s.end, s.start, s.end),
}
