"""A race of candidates over seeds: who is beaten early, and what the winner's score is worth.

The seeds' noise is taken to be the same for all candidates and pooled: two or four seeds of one tell little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A score without the luck of having been chosen for it, and its 95 % interval (None: unknown, as from one seed
    each, or where the seeds of each candidate all score the same)."""

    mean: float
    low: float | None
    high: float | None


def rounds(seeds: int) -> list[int]:
    """Seeds that every candidate left in the race has had at the end of each round: 2, 4, 8 ... up to `seeds`."""
    ends = []
    end = 2
    while end < seeds:
        ends.append(end)
        end *= 2
    return [*ends, seeds]


def beaten_in_blocks(scores: Mapping[int, Mapping[int, float]], direction: str) -> set[int]:
    """The same where those scores that stand in one block have something in common: the rows that they are of.

    A block's mean is taken from its scores, and its freedom from the noise (randomised blocks, Fisher 1935).

    Args:
        scores: of each candidate, by block.
    """
    blocks = {block for of_one in scores.values() for block in of_one}
    means = {block: np.mean([of_one[block] for of_one in scores.values() if block in of_one]) for block in blocks}
    left = {
        candidate: [float(score - means[block]) for block, score in of_one.items()]
        for candidate, of_one in scores.items()
    }
    return beaten(left, direction, lost=len(blocks) - 1)


def beaten(scores: Mapping[int, Sequence[float]], direction: str, lost: int = 0) -> set[int]:
    """Candidates whose mean lies behind the best one's by more than the noise explains (one-sided t, 95 %).

    Args:
        scores: of each candidate, over the same seeds.
        lost: degrees of freedom that were taken from them before.
    """
    from scipy import stats  # here as below: takes longer than all that only reads an artefact

    spread, freedom = noise(list(scores.values()), lost)
    if freedom < 1:
        return set()
    sign = 1.0 if direction == "maximize" else -1.0
    means = {candidate: sign * float(np.mean(of_one)) for candidate, of_one in scores.items() if of_one}
    best = max(means, key=lambda candidate: means[candidate])
    limit = float(stats.t.ppf(_LEVEL, freedom)) * spread
    return {
        candidate
        for candidate, mean in means.items()
        if means[best] - mean > limit * np.sqrt(1 / len(scores[best]) + 1 / len(scores[candidate])) > 0
    }


def unlucky(scores: Sequence[Sequence[float]], chosen: int, pooled: tuple[float, int] = (0.0, 0)) -> Estimate:
    """The chosen candidate's mean, shrunk towards all candidates' by how much of their differences is noise.

    The best of several means is too good; its posterior mean under a common normal prior is not (empirical Bayes,
    Efron and Morris 1973).

    Args:
        pooled: the noise of other candidates too, where these show none.
    """
    from scipy import stats

    own = scores[chosen]
    spread, freedom = noise(scores)
    if not spread:
        spread, freedom = pooled
    mean = float(np.mean(own))
    if not spread:  # a metric with steps, and few seeds: that they fall on one step is no certainty
        return Estimate(mean, None, None)
    means = np.array([np.mean(of_one) for of_one in scores if of_one])
    counts = np.array([len(of_one) for of_one in scores if of_one])
    center = float(means.mean())
    noises = spread**2 / counts
    between = max(float(means.var(ddof=1)) - float(noises.mean()), 0.0) if len(means) > 1 else np.inf
    own_noise = spread**2 / len(own)
    kept = 1.0 if np.isinf(between) or own_noise == 0 else between / (between + own_noise)
    shrunk = center + kept * (mean - center)
    # The noise left in the own mean, that of the mean it was drawn to, and that of how far it was (Morris 1983).
    drawn = 2 / max(len(means) - 1, 1) * ((1 - kept) * (mean - center)) ** 2
    variance = kept * own_noise + (1 - kept) * float(noises.mean()) / len(means) + drawn
    half = float(stats.t.ppf((1 + _LEVEL) / 2, freedom)) * float(np.sqrt(variance))
    return Estimate(shrunk, shrunk - half, shrunk + half)


def noise(scores: Sequence[Sequence[float]], lost: int = 0) -> tuple[float, int]:
    """Pooled standard deviation over the seeds of each candidate, and its degrees of freedom; 0 of both: unknown."""
    freedom = sum(len(of_one) - 1 for of_one in scores if of_one) - lost
    if freedom < 1:
        return 0.0, 0
    squares = sum(float(np.square(np.asarray(of_one) - np.mean(of_one)).sum()) for of_one in scores if of_one)
    return float(np.sqrt(squares / freedom)), freedom
