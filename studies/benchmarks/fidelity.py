"""Short complete schedules first, or every trial in full? And which of many noisy scores is to be believed?

Searches replayed on tables of real trainings (`fidelity_table.py`, whose tables are kept in `reports/fidelity`): every
setting in full; successive halving on complete schedules of a 27th, a ninth and a third of the length, by score and by
what the model expects, the epochs one of its inputs; the same where noise detects itself; Ray Tune's ASHA with TPE.

    python studies/benchmarks/fidelity.py --tables reports/fidelity/tables --output FOLDER [--seeds 16]
        [--only adult digits]
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fidelity_searches import Search, Table, all_full, asha, halving
from measured import keep, listed, machine, versions
from scipy.stats import spearmanr

from lab.range_test import Tried, decide

NAMES = ("adult", "cifar10", "digits", "noisy")
_AFTER = (8, 16, 24, 32, 48, 64)
_FRESH = 8
"""Draws of the fresh seeds that decide between candidates."""


def correlations(table: Table) -> dict[str, float]:
    """Spearman's, of one seed of each length with the mean in full; in full, with the mean of the other seeds."""
    full = table.scores[table.full]
    figures = {
        str(epochs): statistics.mean(float(spearmanr(one, full.mean(axis=1)).statistic) for one in scores.T)
        for epochs, scores in table.scores.items()
        if epochs < table.full
    }
    others = [float(spearmanr(full[:, i], np.delete(full, i, 1).mean(axis=1)).statistic) for i in range(full.shape[1])]
    return {**figures, "another seed": statistics.mean(others)}


def reached(paths: Sequence[Sequence[tuple[int, float]]], target: float) -> int | None:
    """The first epoch by which these searches are worth a score on the mean."""
    for moment in sorted({epochs for path in paths for epochs, _ in path}):
        have = [[worth for epochs, worth in path if epochs <= moment] for path in paths]
        if all(have) and statistics.mean(one[-1] for one in have) >= target:
            return moment
    return None


def interval(values: Sequence[float], scale: float = 1.0) -> list[float]:
    """Mean and standard error."""
    return [scale * statistics.mean(values), scale * statistics.stdev(values) / len(values) ** 0.5]


def confirmed(search: Search, candidates: Sequence[int]) -> float:
    """What the candidate is worth, on one half of the seeds, that has the best mean on the other half."""
    scores, figures = search.table.scores[search.table.full], []
    rng = np.random.default_rng(search.seed)
    for _ in range(_FRESH):
        halves = []
        for one in candidates:
            order = rng.permutation(np.delete(scores[one], search.column[search.table.full][one]))
            halves.append((float(order[: len(order) // 2].mean()), float(order[len(order) // 2 :].mean())))
        figures.append(max(halves)[1])
    return statistics.mean(figures)


def measure(table: Table, seeds: int) -> dict[str, Any]:
    """All that is told of a workload."""
    others = [asha(table, seed) for seed in range(seeds)]
    target = [path[-1][1] for path, _ in others]
    goal = statistics.mean(target)
    ways: dict[str, Any] = {
        "ASHA": {
            "epochs": statistics.mean(epochs for _, epochs in others),
            "observed": interval(target),
            "reached": reached([path for path, _ in others], goal),
        }
    }
    searches = {
        "all in full": [all_full(table, seed) for seed in range(seeds)],
        "halving by score": [halving(table, seed, False) for seed in range(seeds)],
        "halving by the model": [halving(table, seed, True) for seed in range(seeds)],
        "the same, checked": [halving(table, seed, True, checks=True) for seed in range(seeds)],
    }
    for name, of_way in searches.items():
        ways[name] = {
            "epochs": statistics.mean(one.epochs for one in of_way),
            "observed": interval([one.worth(one.observed_best()) for one in of_way]),
            "expected": interval([one.worth(one.expected_best()) for one in of_way]),
            "reached": reached([one.path() for one in of_way], goal),
            "correlations": [round(one.correlation, 2) for one in of_way if one.correlation is not None],
        }
    after = {}
    full = searches["all in full"]
    for count in [count for count in _AFTER if count <= table.trials]:
        observed = [one.worth(one.observed_best(count)) for one in full]
        expected = [one.worth(one.expected_best(count)) for one in full]
        gain = [e - o for e, o in zip(expected, observed, strict=True)]
        after[count] = [statistics.mean(observed), statistics.mean(expected), *interval(gain, 100)]
    race = {}
    for count in [count for count in _AFTER if 24 <= count <= table.trials]:
        gain = []
        for one in full:
            expected_of, whole = one.expected(one.trained[:count]), one.whole(count)
            by_score = sorted(whole, key=lambda setting: one.cost((setting, table.full)))
            by_model = sorted(whole, key=lambda setting: expected_of[setting])
            gain.append(confirmed(one, by_model[:3]) - confirmed(one, by_score[:3]))
        race[count] = interval(gain, 100)
    return {
        "settings": len(table.units),
        "correlations": correlations(table),
        "seed_std": float(np.median(table.scores[table.full].std(axis=1, ddof=1))),
        "ways": ways,
        "after": after,
        "race": race,
        "rates": rates(table),
    }


def rates(table: Table) -> list[dict[str, Any]]:
    """What the range test decides by 1cycles of each length on each choice of seeds."""
    lrs = [one["max_lr"] for one in table.content["rates"]]
    full = np.nanmean(table.of("rates", table.full), axis=1)
    figures = []
    for epochs, seeds in itertools.product(table.lengths, (1, 2, 3)):
        scores = table.of("rates", epochs)
        ends: Counter[str] = Counter()
        lost = []
        for chosen in itertools.combinations(range(scores.shape[1]), seeds):
            picked = [tuple(None if np.isnan(s) else float(s) for s in row[list(chosen)]) for row in scores]
            decision = decide(
                [Tried(lr, one) for lr, one in zip(lrs, picked, strict=True)], table.content["by_curve"], "maximize"
            )
            if decision is not None:
                low, high = (f"{end:.2g}" if end is not None else "open" for end in (decision.low, decision.high))
                ends[f"{low} to {high}"] += 1
                value = float(np.interp(np.log(decision.suggestion), np.log(lrs), full))
                lost.append(100 * (float(np.nanmax(full)) - value))
        figures.append(
            {
                "epochs": epochs,
                "seeds": seeds,
                "trainings": round(seeds * len(lrs) * epochs / table.full, 1),
                "lost": statistics.mean(lost),
                "ends": dict(ends.most_common(3)),
            }
        )
    return figures


def page(content: dict[str, Any]) -> str:
    """The tables of the report."""
    tasks = content["tasks"]
    text = f"""# Short complete schedules first, or every trial in full?

`python studies/benchmarks/fidelity.py --tables reports/fidelity/tables --output FOLDER`.
{listed(content["versions"])}; {content["machine"]}; {content["seeds"]} replays each, standard errors over them.
"""
    text += "\n| workload (settings) | rank correlation of a complete schedule of so many epochs with the full one"
    text += " | another seed | standard deviation of a seed (points) |\n|---|---|---|---|\n"
    for name, one in tasks.items():
        *short, (_, seed) = one["correlations"].items()
        said = ", ".join(f"{epochs}: {value:.2f}" for epochs, value in short)
        text += f"| {name} ({one['settings']}) | {said} | {seed:.2f} | {100 * one['seed_std']:.2f} |\n"
    text += "\n| workload | search | epochs | worth, best score | worth, expected best | epochs until ASHA's worth |\n"
    text += "|---|---|---|---|---|---|\n"
    for name, one in tasks.items():
        for way, figures in one["ways"].items():
            expected = _worth(figures["expected"]) if "expected" in figures else "-"
            until = "never" if figures["reached"] is None else figures["reached"]
            text += (
                f"| {name} | {way} | {figures['epochs']:.0f} | {_worth(figures['observed'])} | {expected} | {until} |\n"
            )
    text += (
        "\nEvery trial in full: what the setting that is expected to be the best is worth above the one with the best"
    )
    text += " score, in points.\n\n| workload | "
    counts = sorted({int(count) for one in tasks.values() for count in one["after"]})
    text += " | ".join(f"{count} trials" for count in counts) + " |\n|---" + "|---" * len(counts) + "|\n"
    for name, one in tasks.items():
        text += f"| {name} | " + " | ".join(_gain(one["after"], count, 2) for count in counts) + " |\n"
    text += (
        "\nThe same of the best on fresh seeds of three candidates, taken by expectation or by score.\n\n| workload | "
    )
    counts = [count for count in counts if count >= 24]
    text += " | ".join(f"{count} trials" for count in counts) + " |\n|---" + "|---" * len(counts) + "|\n"
    for name, one in tasks.items():
        text += f"| {name} | " + " | ".join(_gain(one["race"], count, 0) for count in counts) + " |\n"
    text += "\nThe range test by shorter trainings, or on fewer seeds; `lost`: points that a 1cycle in full at the rate"
    text += " suggested lies below the best rate tried.\n\n"
    text += "| workload | epochs | seeds | cost in whole trainings | lost | ends of the range, and how often |\n"
    text += "|---|---|---|---|---|---|\n"
    for name, one in tasks.items():
        for figures in one["rates"]:
            ends = ", ".join(f"{end}: {count}" for end, count in figures["ends"].items())
            text += (
                f"| {name} | {figures['epochs']} | {figures['seeds']} | {figures['trainings']} | {figures['lost']:.2f}"
            )
            text += f" | {ends} |\n"
    return text


def _worth(figures: Sequence[float]) -> str:
    return f"{figures[0]:.4f} ({figures[1]:.4f})"


def _gain(figures: dict[Any, Any], count: int, at: int) -> str:
    values = figures.get(count, figures.get(str(count)))  # JSON's keys are strings
    return "-" if values is None else f"{values[at]:+.3f} +- {values[at + 1]:.3f}"


def main() -> None:
    """Replay what is asked for; workloads that are not named stay as they were written before."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    kept = arguments.output / "result.json" if arguments.output else None
    tasks = json.loads(kept.read_text())["tasks"] if kept is not None and kept.exists() else {}
    for name in arguments.only:
        tasks[name] = measure(Table(arguments.tables / f"{name}.json"), arguments.seeds)
        content = {
            "machine": machine(),
            "versions": versions("lab", "torch", "optuna", "scikit-learn", "scipy"),
            "seeds": arguments.seeds,
            "tasks": dict(sorted(tasks.items())),
        }
        keep(arguments.output, content, page(content))


if __name__ == "__main__":
    main()
