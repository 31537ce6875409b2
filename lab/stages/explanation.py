"""The forest that is fitted to the trials of the search, and what it says of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from optuna.study import StudyDirection

from lab.lanes.job import objective_of
from lab.record.folder import Record
from lab.record.trials import TrialRow, read_trials
from lab.response.effects import crowded, edge, partial_dependence
from lab.response.encode import Encoding
from lab.response.extrapolation import Reach
from lab.response.findings import Coverage, Region
from lab.response.forest import Forest
from lab.response.importance import measures, resampled
from lab.response.interactions import MOST, interactions, surface
from lab.response.quality import held_out
from lab.response.rungs import AtFull, Rows, rows_of
from lab.search.as_good import as_good_as_the_best
from lab.search.gain import gain_of_next
from lab.search.observed import as_trials
from lab.spec.distributions import conditions, distributions
from lab.spec.plan import Direction
from lab.spec.space import Space
from lab.spec.study import StudySpec
from lab.spec.trial import Outcome, derive_seed
from lab.stages.advice import widened
from lab.stages.explain import Explained, Gain, TreeStd, Withheld
from lab.stages.from_bounds import space_of
from lab.stages.warm_start import observed_before

Floats = NDArray[np.float64]

_BELIEVE_FROM = 0.2
"""R2 on unseen trials below which importances are withheld: they would describe the forest's errors."""


@dataclass(frozen=True)
class Fitted:
    """The explaining forest with the trials that it was fitted to."""

    space: Space
    encoding: Encoding
    trials: list[TrialRow]
    units: Floats
    """The trials' settings in the unit cube, [trials, d]."""
    features: Floats
    fit: Fit


def fitted(spec: StudySpec, record: Record) -> Fitted | Withheld:
    """The forest, fitted to the explore stage's trials."""
    space = space_of(spec, record)
    metric, direction = objective_of(spec)
    searched = {name: dist for name, dist in distributions(space).items() if not dist.single()}
    encoding = Encoding(searched, conditions(space))
    trials = [r for r in read_trials(record, "explore", spec.store) if _teaches(r)]
    if len(trials) < 4 or not len(encoding):
        reason = "fewer than 4 trials" if len(encoding) else "the space is a single point"
        return Withheld(reason, len(trials))
    units = encoding.units([row.params for row in trials])
    features = encoding.features(units)
    fit = _fit(metric, _by_score(trials, direction), direction, features, spec.seed)
    if not fit.believed:
        # A score that saturates (accuracy on few examples) is mostly noise where the loss still tells trials apart.
        losses = _log_losses(trials)
        by_loss = None if losses is None else _fit("log(valid_loss)", _plain(losses), "minimize", features, spec.seed)
        fit = by_loss if by_loss is not None and by_loss.believed else fit
    return Fitted(space, encoding, trials, units, features, fit)


def explain(spec: StudySpec, record: Record) -> Explained | Withheld:
    """What the forest says of the explore stage's trials."""
    of_search = fitted(spec, record)
    if isinstance(of_search, Withheld):
        return of_search
    space, encoding, trials, fit = of_search.space, of_search.encoding, of_search.trials, of_search.fit
    units, features = of_search.units, of_search.features
    metric, direction = objective_of(spec)
    history = np.nan_to_num(units, nan=-1)
    effects = tuple(partial_dependence(fit.forest, encoding, name, history, seed=spec.seed) for name in encoding.names)
    spread = fit.forest.predict(features).std
    gain, region = _outlook(spec, record, space, direction, trials)
    plain = Explained(
        trials=len(trials),
        diverged=sum(row.outcome is Outcome.DIVERGED for row in trials),
        pruned=sum(row.outcome is Outcome.PRUNED for row in trials),
        explains=fit.what,
        explains_direction=fit.direction,
        instead_of=None if fit.what == metric else metric,
        out_of_bag_r2=fit.r2,
        believe_from=_BELIEVE_FROM,
        withheld=fit.doubt,
        coverage=fit.coverage,
        tree_std=TreeStd(float(np.median(spread)), float(spread.max())),
        effects=effects,
        extrapolation=Reach(encoding, units, spec.seed).read(),
        gain=gain,
        importances=None,
        region=region,
    )
    if not fit.believed:
        return plain
    whole = np.array([row.outcome is not Outcome.PRUNED for row in trials])
    params, cost = [row.params for row in trials if row.outcome is not Outcome.PRUNED], fit.cost[whole]
    again = resampled(features[whole], cost, seed=spec.seed)
    by_measure = measures(encoding, params, cost, again, seed=spec.seed)
    shares = {name: i.share for name, i in by_measure["permutation"].items()}
    top = sorted(shares, key=lambda name: (-shares[name], name))[:MOST]
    pairs = interactions(again.forests, encoding, [name for name in encoding.names if name in top], seed=spec.seed)
    at_edge = {e.name: side for e in effects if (side := edge(e, encoding, fit.direction))}
    at_edge |= _crowded(trials, direction, encoding, units)
    return replace(
        plain,
        importances=shares,
        measures=by_measure,
        interactions=tuple(pairs),
        surface=surface(fit.forest, encoding, pairs[0].names, history, seed=spec.seed) if pairs else None,
        edges=at_edge,
        widen=widened(spec.space, space, at_edge),
    )


def _crowded(trials: list[TrialRow], direction: str, encoding: Encoding, units: Floats) -> dict[str, str]:
    """By hyperparameter the end of its range at which the best scores themselves lie."""
    scored = np.array([row.score is not None for row in trials])
    score = np.array([row.score for row in trials if row.score is not None], dtype=np.float64)
    cost = -score if direction == "maximize" else score
    return {name: side for name in encoding.names if (side := crowded(encoding, name, units[scored], cost))}


def _outlook(
    spec: StudySpec, record: Record, space: Space, direction: str, trials: list[TrialRow]
) -> tuple[Gain | None, Region | None]:
    """The gain of a further trial and the settings as good as the best, from all that the search has seen; None each
    where that is too little."""
    dists = distributions(space)
    history = as_trials([*observed_before(record, space), *trials], dists)
    seen = history, dists, StudyDirection[direction.upper()], derive_seed(spec.seed, "explore"), conditions(space)
    gain = gain_of_next(*seen)
    said = None if gain is None else Gain(gain.expected, gain.noise, gain.below_noise)
    return said, as_good_as_the_best(*seen)


@dataclass(frozen=True)
class Fit:
    """A forest, what it explains, and how well."""

    what: str
    direction: Direction
    forest: AtFull
    cost: Floats
    """The loss of each trial at its end, to be minimised; [trials]."""
    r2: float | None
    coverage: tuple[Coverage, ...]

    @property
    def believed(self) -> bool:
        return self.r2 is not None and self.r2 >= _BELIEVE_FROM

    @property
    def doubt(self) -> str | None:
        """Why it is not believed."""
        if self.believed:
            return None
        if self.r2 is None:
            return "all trials score the same"
        return f"out-of-bag R2 {self.r2:.2f} is below {_BELIEVE_FROM}: the forest cannot tell good trials from bad ones"


def _fit(what: str, rows: Rows, direction: Direction, features: Floats, seed: int) -> Fit:
    rows = replace(rows, target=_without_far_out(rows.target, direction))
    encoded = rows.features(features)
    forest = Forest(seed).fit(encoded, rows.target)
    quality = held_out(encoded, rows.target, rows.trial, asked=rows.last, seed=seed)
    # Out of bag while a trial is one row; rows of one trial would give each other away.
    r2 = quality.r2 if rows.fidelity is not None else forest.out_of_bag_r2()
    sign = -1.0 if direction == "maximize" else 1.0
    return Fit(what, direction, AtFull(forest, rows), sign * rows.target[rows.last], r2, quality.coverage)


def _without_far_out(target: Floats, direction: str) -> Floats:
    """The target [n] with the few scores that are far worse than the rest drawn up to it.

    One failed training would else be all that a forest explains. Far is three interquartile ranges beyond the worse
    quartile (Tukey 1977), and few are at most 5 %: of a search that has settled, what is worse than usual is no slip.
    """
    sign = -1.0 if direction == "maximize" else 1.0
    cost = sign * target
    better, worse = np.quantile(cost, [0.25, 0.75])
    near = np.minimum(cost, max(worse + 3 * (worse - better), float(np.quantile(cost, 0.95))))
    return np.asarray(sign * near) if np.ptp(near) > 0 else target


def _teaches(row: TrialRow) -> bool:
    return row.outcome in (Outcome.COMPLETED, Outcome.PRUNED, Outcome.DIVERGED)


def _by_score(trials: list[TrialRow], direction: str) -> Rows:
    """A row per trial; where trials were pruned, one per rung too, so that a score is compared with its like.

    A diverged trial gets the worst completed score.
    """
    good = [row.score for row in trials if row.score is not None]
    worst = (min if direction == "maximize" else max)(good, default=0.0)
    curves = [row.curve if row.outcome is not Outcome.DIVERGED else {} for row in trials]
    final = [worst if row.score is None else row.score for row in trials]
    return rows_of(curves, final, [row.outcome is Outcome.PRUNED and bool(row.curve) for row in trials])


def _plain(target: Floats) -> Rows:
    return rows_of([{}] * len(target), target.tolist(), [False] * len(target))


def _log_losses(trials: list[TrialRow]) -> Floats | None:
    """Logarithm of the final validation losses [n], diverged ones as the worst; None where they are not all known, or
    some are of shorter runs."""
    losses = [row.metrics.get("valid_loss") for row in trials if row.outcome is not Outcome.DIVERGED]
    finite = [loss for loss in losses if loss is not None and loss > 0]
    if not finite or len(finite) < len(losses) or any(row.outcome is Outcome.PRUNED for row in trials):
        return None
    worst = max(finite)
    diverged = np.array([row.outcome is Outcome.DIVERGED for row in trials])
    logs: Floats = np.full(len(trials), np.log(worst))
    logs[~diverged] = np.log(finite)
    return logs
