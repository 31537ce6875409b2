"""The width of stacked models where a lane's trials are of several groups. Needs no torch.

Wide ones are faster per row and leave more rows empty: a group seldom fills its last stack.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np
import scipy

from lab.lanes.engine import Probe
from lab.lanes.speed.thresholds import GAIN

Times: TypeAlias = Mapping[tuple[str, int], float]
"""Milliseconds per row and optimizer step, by path and rows of a stacked model."""


@dataclass(frozen=True)
class Packing:
    """Slots of a lane, and how many of them are trained as one stacked model."""

    path: str
    width: int
    stack: int


def filled(width: int, stack: int, groups: int) -> float:
    """Expected share of rows that train, where each of `width` trials is equally likely to be of any group."""
    counts = np.arange(width + 1)
    chance = scipy.stats.binom.pmf(counts, width, 1 / groups)
    rows = groups * stack * float(np.ceil(counts / stack) @ chance)
    return width / rows


def best_stack(times: Times, path: str, width: int, groups: int) -> int:
    """The number of `width` slots that should be trained as one. It is `width` where there is one group."""
    rows = [rows for timed, rows in times if timed == path and rows <= width]
    if groups == 1 or not rows:
        return width
    return min(rows, key=lambda k: (times[path, k] / filled(width, k, groups), k))


def doubled(first: int, last: int) -> Iterator[int]:
    """`first`, twice that, and so on up to `last`."""
    while first <= last:
        yield first
        first *= 2


def cost(times: Times, packing: Packing, groups: int) -> float:
    """Milliseconds per trial and optimizer step, including the time of empty rows."""
    ms = times[packing.path, packing.stack]
    return ms if packing.path == "sequential" else ms / filled(packing.width, packing.stack, groups)


def pack(times: Times, widest: int, groups: int) -> Packing:
    """The fastest packing that was timed, at the fewest slots up to `widest` that are about as fast.

    One after the other, at 1, must have been timed.
    """
    best = Packing("sequential", 1, 1)
    for path in dict.fromkeys(path for path, _ in times if path != "sequential"):
        for width in doubled(1, widest):
            packing = Packing(path, width, best_stack(times, path, width, groups))
            if (path, packing.stack) in times and cost(times, best, groups) >= GAIN * cost(times, packing, groups):
                best = packing
    return best


def step_ms(probe: Probe) -> float:
    """Milliseconds per trial and optimizer step of a probe's packing."""
    packing = Packing(probe.path, probe.width, probe.stack)
    return cost(probe.milliseconds, packing, prod(probe.groups.values()))


def fastest(
    times: Times, widest: int, groups: Mapping[str, int], refused: tuple[str, ...], threads: int = 1, kept: bool = False
) -> Probe:
    """A probe that takes the fastest of what was timed on so many threads, up to `widest` slots, with the reason.

    Args:
        kept: whether an earlier study has timed some of it.
    """
    many = prod(groups.values())
    best = pack(times, widest, many)
    gain = times["sequential", 1] / cost(times, best, many)
    by = " (by an earlier study on this machine)" if kept else ""
    summary = (
        f"fastest of {len(times)} timed{by}: {gain:.1f} times sequential" if len(times) > 1 else "nothing else is open"
    )
    if groups and best.path != "sequential":
        summary += f" with {many} groups ({', '.join(f'{n} by {name}' for name, n in groups.items())})"
    reason = "; ".join([summary, *refused])
    return Probe(best.path, best.width, reason, dict(times), best.stack, dict(groups), refused, threads, kept)


def narrowed(probe: Probe, widest: int) -> Probe:
    """The probe that the same times give where lanes are narrower."""
    if probe.path == "function" or probe.width <= widest:
        return probe
    return fastest(probe.milliseconds, widest, probe.groups, probe.refused, probe.threads, probe.kept)


def settle(probe: Probe, width: int | None) -> Packing:
    """A probe's packing, with `width` slots where they are not None."""
    path = probe.path
    if width is None or path == "function":
        return Packing(path, probe.width, probe.stack)
    if path == "sequential":  # the width was asked for, and it may be had, if no faster
        open_paths = {path for path, _ in probe.milliseconds}
        path = next((p for p in ("stacked", "vmap") if p in open_paths), path)
    return Packing(path, width, best_stack(probe.milliseconds, path, width, prod(probe.groups.values())))
