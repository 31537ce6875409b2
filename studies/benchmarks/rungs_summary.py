"""What is told of the curves that `rungs.py` has trained: how early scores rank, and what studies that stop early find.

Shapes: p settings, s seeds, e epochs, d hyperparameters. Scores are accuracies; a run that diverged scores 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from lab.search.forecast import Forecast, rungs

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Curves: TypeAlias = dict[str, Floats]
"""Way of training to scores [p, s, e]."""

CUT, SHORT, CYCLES, FOREST = "cut mid-cycle", "complete short 1cycle", "end of an SGDR cycle", "forest's forecast"
WAYS = (CUT, SHORT, CYCLES, FOREST)
BLIND = "forest without the curve"
TOP, FACTOR = 10, 3
EPOCHS = 27
RUNGS = rungs(EPOCHS, 1, FACTOR)
RESAMPLES, REPLAYS, FORECASTS = 200, 40, 30
STARTUP, SHARE, BATCH, FINALISTS = 8, 0.5, 8, 5
"""The forecast's settings as `ForestPruner` has them, trials under way at once, how many end at least by halving."""


@dataclass(frozen=True)
class Way:
    """One way of stopping early: scores [p, s] at each rung, of which the last is the final one."""

    epochs: tuple[int, ...]
    """What a rung's score costs, given the rung before."""
    scores: tuple[Floats, ...]
    truth: Floats
    """Final scores of the whole 1cycle [p, s], by which what was found is judged."""

    @property
    def final(self) -> Floats:
        return self.scores[-1]


def ways(curves: Curves) -> dict[str, Way]:
    """The ways that need no model."""
    whole, sgdr = np.nan_to_num(curves["one_cycle 27"]), np.nan_to_num(curves["sgdr"])
    short = [np.nan_to_num(curves[f"one_cycle {r}"])[..., -1] for r in RUNGS]
    return {
        CUT: Way((1, 2, 6, 18), tuple(whole[..., r - 1] for r in (1, 3, 9, 27)), whole[..., -1]),
        SHORT: Way((1, 3, 9, 27), (*short, whole[..., -1]), whole[..., -1]),
        CYCLES: Way((1, 3, 9, 14), tuple(sgdr[..., r - 1] for r in (1, 4, 13, 27)), whole[..., -1]),
    }


def summary(curves: Curves, units: Floats) -> dict[str, Any]:
    """Everything told of a task."""
    by_way = ways(curves)
    final = by_way[CUT].final
    early = {name: way.scores[:-1] for name, way in by_way.items()} | {
        FOREST: tuple(_forecasts(by_way[CUT], units, rung + 1) for rung in range(len(RUNGS))),
        BLIND: (_forecasts(by_way[CUT], units, 0),),
    }
    random = np.random.default_rng(0)
    drawn = [random.integers(0, len(final), len(final)) for _ in range(RESAMPLES)]
    rungs = {
        name: [
            {"spearman": _spread(_rank_agreement, s, final, drawn), "kept": _spread(_top_kept, s, final, drawn)}
            for s in scores
        ]
        for name, scores in early.items()
    }
    return {
        "ceiling": _spread(_rank_agreement, final, final, drawn),
        "final": {"best": _digits(final.mean(axis=1).max()), "median": _digits(np.median(final.mean(axis=1)))},
        "rungs": rungs,
        "studies": _studies(by_way, units, drawn[:REPLAYS]),
    }


# -- one rung --------------------------------------------------------------------------------------------------------


def others(final: Floats, seed: int) -> Floats:
    """Mean final score over the seeds but one, [p]."""
    return np.asarray(np.delete(final, seed, axis=1).mean(axis=1))


def _rank_agreement(early: Floats, final: Floats) -> float:
    """Spearman's correlation of a seed's early scores with the final ones of the other seeds; mean over the seeds."""
    correlations = []
    for seed in range(final.shape[1]):
        a, b = rankdata(early[:, seed]), rankdata(others(final, seed))
        correlations.append(np.corrcoef(a, b)[0, 1] if np.ptp(a) > 0 else 0.0)
    return float(np.mean(correlations))


def _top_kept(early: Floats, final: Floats) -> float:
    """Share of the truly best that are in the best third of the early scores."""
    shares = []
    for seed in range(final.shape[1]):
        third = np.argsort(-early[:, seed], kind="stable")[: len(early) // FACTOR]
        best = np.argsort(-others(final, seed), kind="stable")[:TOP]
        shares.append(np.isin(best, third).mean())
    return float(np.mean(shares))


def _spread(measure: Callable[[Floats, Floats], float], early: Floats, final: Floats, drawn: Sequence[Ints]) -> Any:
    """A measure with its 95 % bootstrap interval over the settings."""
    again = [measure(early[d], final[d]) for d in drawn]
    return _interval(measure(early, final), again)


def _interval(value: float, again: Sequence[float]) -> dict[str, float]:
    low, high = np.quantile(again, [0.025, 0.975])
    return {"mean": _digits(value), "low": _digits(low), "high": _digits(high)}


def _digits(value: float) -> float:
    return round(float(value), 4)


def _forecasts(way: Way, units: Floats, rungs_seen: int, folds: int = 4) -> Floats:
    """What a forest that has seen whole runs of three quarters of the settings says of the rest, [p, s]."""
    fold = np.random.default_rng(0).permutation(len(units)) % folds
    expected = np.empty_like(way.final)
    for k in range(folds):
        for seed in range(expected.shape[1]):
            curves = _curves(way, rungs_seen, np.full(len(units), seed))
            seen, asked = fold != k, fold == k
            forecast = Forecast(units[seen], curves[seen], -way.final[seen, seed], seed=0)
            expected[asked, seed] = -forecast.expected(units[asked], curves[asked])
    return expected


def _curves(way: Way, count: int, seeds: Ints) -> Floats:
    """Costs at the first rungs, [p, count]."""
    costs = np.empty((len(seeds), count))
    for rung, scores in enumerate(way.scores[:count]):
        costs[:, rung] = -scores[np.arange(len(seeds)), seeds]
    return costs


# -- whole studies ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Replay:
    """What a replayed study has cost, and how far the setting it chose lies below the best."""

    epochs: int
    regret: float


def _studies(by_way: Mapping[str, Way], units: Floats, drawn: Sequence[Ints]) -> dict[str, Any]:
    """Random searches replayed: regret by epochs, without early stopping and with each way of it."""
    p = len(units)
    sizes = [p // 8, p // 4, p // 2, (2 * p) // 3, p]
    plain, asked = by_way[CUT], sizes[3]
    studies: dict[str, Any] = {
        "none": [_replayed(lambda r, d, n=n: _whole(plain, d, n, r), drawn, p, n) for n in sizes]  # type: ignore[misc]
    }
    for name, way in by_way.items():
        studies[name] = [
            _replayed(lambda r, d, w=way, n=n: halved(w, d, n, r), drawn, p, n)  # type: ignore[misc]
            for n in sizes
        ]
    random = np.random.default_rng(1)
    runs = [_forecast_study(plain, units, asked, random) for _ in range(FORECASTS)]
    studies[FOREST] = [_figures(asked, [r.epochs for r in runs], [r.regret for r in runs])]
    studies["saved"] = {name: _saved(studies["none"], studies[name], asked) for name in WAYS}
    return studies


def _replayed(study: Callable[[np.random.Generator, Ints], Replay], drawn: Sequence[Ints], p: int, n: int) -> Any:
    """Many studies of n settings; the interval is over resampled settings."""
    random = np.random.default_rng(n)
    runs = [study(random, np.arange(p)) for _ in range(10 * REPLAYS)]
    again = [float(np.mean([study(random, d).regret for _ in range(REPLAYS)])) for d in drawn]
    figures = _figures(n, [r.epochs for r in runs], [r.regret for r in runs])
    return figures | {"regret": _interval(figures["regret"]["mean"], again)}


def _figures(n: int, epochs: Sequence[int], regret: Sequence[float]) -> dict[str, Any]:
    mean, half = float(np.mean(regret)), 1.96 * float(np.std(regret)) / len(regret) ** 0.5
    ends = {"low": _digits(mean - half), "high": _digits(mean + half)}
    return {"settings": n, "epochs": round(float(np.mean(epochs))), "regret": {"mean": _digits(mean), **ends}}


def _saved(plain: list[Any], stopped: list[Any], asked: int) -> dict[str, Any]:
    """Against the search of as many settings that stops nothing: how many times fewer epochs, and the regret added."""
    whole, mine = (next(t for t in studies if t["settings"] == asked) for studies in (plain, stopped))
    return {
        "fewer_epochs": round(whole["epochs"] / mine["epochs"], 2),
        "regret_added": _digits(mine["regret"]["mean"] - whole["regret"]["mean"]),
    }


def _whole(way: Way, rows: Ints, n: int, random: np.random.Generator) -> Replay:
    chosen = random.choice(rows, n, replace=False)
    seeds = random.integers(0, way.final.shape[1], n)
    return Replay(n * EPOCHS, _regret(way.truth, rows, chosen, seeds, way.final[chosen, seeds]))


def halved(way: Way, rows: Ints, n: int, random: np.random.Generator) -> Replay:
    """Successive halving: the best third of a rung goes on; a run that starts anew has a seed of its own."""
    alive = random.choice(rows, n, replace=False)
    anew = sum(way.epochs) > EPOCHS
    seeds = random.integers(0, way.final.shape[1], n)
    spent = n * way.epochs[0]
    for scores, epochs in zip(way.scores, way.epochs[1:], strict=False):
        count = min(max(len(alive) // FACTOR, FINALISTS), len(alive))
        best = np.argsort(-scores[alive, seeds], kind="stable")[:count]
        alive, seeds = alive[best], seeds[best]
        if anew:
            seeds = random.integers(0, way.final.shape[1], count)
        spent += count * epochs
    return Replay(spent, _regret(way.truth, rows, alive, seeds, way.final[alive, seeds]))


def _forecast_study(way: Way, units: Floats, n: int, random: np.random.Generator) -> Replay:
    """Trials in batches; at each rung those end that `ForestPruner` would end."""
    order = random.choice(len(units), n, replace=False)
    seeds = random.integers(0, way.final.shape[1], len(units))
    score = way.final[np.arange(len(units)), seeds]
    whole, spent = list(order[:STARTUP]), STARTUP * sum(way.epochs)
    for start in range(STARTUP, n, BATCH):
        batch = order[start : start + BATCH]
        for rung, epochs in enumerate(way.epochs):
            spent += len(batch) * epochs
            if rung < len(RUNGS) and len(batch):
                curves = _curves(way, rung + 1, seeds)
                forecast = Forecast(units[whole], curves[whole], -score[whole], seed=0)
                batch = batch[forecast.promising(units[batch], curves[batch], SHARE)]
        whole += list(batch)
    chosen = np.array(whole)
    return Replay(spent, _regret(way.truth, np.arange(len(units)), chosen, seeds[chosen], score[chosen]))


def _regret(final: Floats, rows: Ints, chosen: Ints, seeds: Ints, observed: Floats) -> float:
    """How far the best observed lies below the best there is, by the mean of the seeds that were not observed."""
    best = int(observed.argmax())
    return float(final[rows].mean(axis=1).max() - others(final[chosen[best]][None], int(seeds[best]))[0])


# -- in words --------------------------------------------------------------------------------------------------------


def readme(content: Mapping[str, Any]) -> str:
    """The page that stands beside the figures."""
    versions = ", ".join(f"{name} {v}" for name, v in content["versions"].items())
    lines = [
        "# What may a trial be compared at before it has ended?",
        "",
        f"`python studies/benchmarks/rungs.py --tasks {' '.join(content['tasks'])} --adult CSV --cifar PARQUET --json "
        f"reports/rungs/result.json`. {versions}; {content['machine']}; training took "
        + ", ".join(f"{t['training_s']:.0f} s ({name})" for name, t in content["tasks"].items())
        + f". {content['seeds']} seeds of every setting; score: validation accuracy; 95 % bootstrap intervals over "
        "settings.",
        "",
        "## How early scores rank",
        "",
        "Spearman's correlation of one seed's early score with the mean final score of the *other* seeds, and (in "
        f"brackets) the share of the true top {TOP} that lies in the best third. The forecast is that of a forest "
        "which has seen the whole runs of three quarters of the settings, but not the settings it is asked about; what "
        "the hyperparameters tell it without any curve stands below. Another seed at the end is the most there is to "
        "reach. SGDR's cycles end at epochs 1, 4 and 13.",
        "",
        "| task (settings) | early score | 1 epoch | 3 (4) epochs | 9 (13) epochs | another seed at the end |",
        "|---|---|---|---|---|---|",
    ]
    for name, task in content["tasks"].items():
        for way, by_rung in task["rungs"].items():
            cells = [f"{_between(r['spearman'], 2)} ({r['kept']['mean']:.2f})" for r in by_rung]
            cells += [""] * (len(RUNGS) - len(cells))
            lines.append(
                f"| {name} ({task['settings']}) | {way} | {' | '.join(cells)} | {task['ceiling']['mean']:.2f} |"
            )
    lines += [
        "",
        "## What whole studies find",
        "",
        "Random searches replayed on the same curves. The three scores are compared by successive halving (a third "
        f"goes on, at least {FINALISTS} to the end; a complete short run starts anew). The forecast is `ForestPruner` "
        f"as it stands: {STARTUP} trials whole, then, {BATCH} at a time, a trial goes on while its forecast keeps up "
        "with the better half of those that are whole. Regret: accuracy, in points, that the setting with the best "
        "observed score lies below the best there is, by seeds that the search has not seen. A sampler that learns, "
        "unlike the random one here, proposes little that is expected to be bad, and so less of it is stopped.",
        "",
        "| task | settings | early stopping | epochs | times fewer | regret | added |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, task in content["tasks"].items():
        studies = task["studies"]
        asked = studies[FOREST][0]["settings"]
        for way in ("none", *WAYS):
            row = next(r for r in studies[way] if r["settings"] == asked)
            saved = studies["saved"].get(way, {"fewer_epochs": 1.0, "regret_added": 0.0})
            times, added = saved["fewer_epochs"], 100 * saved["regret_added"]
            points = {end: 100 * value for end, value in row["regret"].items()}
            lines.append(
                f"| {name} | {asked} | {way} | {row['epochs']} | {times:.1f} | {_between(points, 2)} | {added:+.2f} |"
            )
    lines += ["", "A search without early stopping that is simply given fewer trials:", ""]
    lines += ["| task | " + "trials: regret |" * 5, "|---|" + "---|" * 5]
    for name, task in content["tasks"].items():
        cells = [f"{r['settings']}: {100 * r['regret']['mean']:.2f}" for r in task["studies"]["none"]]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_verdict(content)]) + "\n"


def _verdict(content: Mapping[str, Any]) -> list[str]:
    """How each way does at its worst."""
    lines = ["At its worst over these tasks:", ""]
    for way in WAYS:
        saved = [task["studies"]["saved"][way] for task in content["tasks"].values()]
        lowest = min(task["rungs"][way][0]["spearman"]["mean"] for task in content["tasks"].values())
        fewer, added = min(s["fewer_epochs"] for s in saved), max(s["regret_added"] for s in saved)
        words = f"correlation {lowest:.2f} after 1 epoch, {fewer:.1f} times fewer epochs, {100 * added:+.2f} points"
        lines.append(f"- {way}: {words}")
    return lines


def _between(value: Mapping[str, float], digits: int) -> str:
    return f"{value['mean']:.{digits}f} [{value['low']:.{digits}f}, {value['high']:.{digits}f}]"
