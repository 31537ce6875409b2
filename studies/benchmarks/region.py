"""Is what a study calls as good as the best truly so? On recorded trainings, where the truth is known.

A forest search of `--trials` trials, each told the score of one recorded seed, then the region that lab gives. The
truth is the mean over the recorded seeds: of the table's rows in the region, the share that is no more than the
region's margin worse than the setting it lies around. Beside it the plainest region: the smallest box around the trials
whose own scores lie within the same margin of the best score.

    python studies/benchmarks/region.py --tables FILE... [--trials 64] [--seeds 5] [--output reports/region]
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from measured import keep, listed, machine, versions
from optuna.distributions import CategoricalDistribution
from search_methods import Trace, run
from search_problems import Table

from lab.response.findings import Region
from lab.search.as_good import as_good_as_the_best


def measure(table: Table, trials: int, seed: int) -> dict[str, Any]:
    """One search, its region, and what it is worth."""
    trace = run("forest", table, trials, seed)
    done = [
        optuna.trial.create_trial(params=dict(seen.params), distributions=table.space, value=seen.cost)
        for seen in trace.seen
    ]
    region = as_good_as_the_best(done, table.space, optuna.study.StudyDirection.MINIMIZE, seed)
    row: dict[str, Any] = {"table": table.name, "seed": seed, "noise": table.noise_of_best}
    if region is not None:
        limit = table.mean_of(region.best) + region.margin
        row |= {"margin": region.margin, "sure": region.sure, "share": region.share}
        row |= {"whole": sum(side.whole for side in region.sides), "hyperparameters": len(region.sides)}
        sides = {side.name: (side.values, side.between) for side in region.sides}
        row["good"] = _good(table, sides, limit)
        row["within noise"] = _good(table, sides, table.mean_of(region.best) + max(region.margin, row["noise"]))
        plain = _plain(table, trace, region)
        row["plain good"] = _good(table, plain, limit)
        row["plain share"] = float(_inside(table, plain).mean())
    return row


def _plain(table: Table, trace: Trace, region: Region) -> dict[str, tuple[Sequence[Any], bool]]:
    """The box around the trials within the margin of the best score."""
    best = min(seen.cost for seen in trace.seen)
    near = [seen.params for seen in trace.seen if seen.cost <= best + region.margin]
    sides: dict[str, tuple[Sequence[Any], bool]] = {}
    for name, dist in table.space.items():
        values = [params[name] for params in near]
        choice = isinstance(dist, CategoricalDistribution)
        sides[name] = (list(dict.fromkeys(values)), False) if choice else ((min(values), max(values)), True)
    return sides


def _inside(table: Table, sides: Mapping[str, tuple[Sequence[Any], bool]]) -> Any:
    """Which rows of the table lie in a box, [n]."""
    inside = np.ones(table.rows, dtype=bool)
    for name, (values, between) in sides.items():
        column = table.column(name)
        inside &= (column >= values[0]) & (column <= values[-1]) if between else np.isin(column, list(values))
    return inside


def _good(table: Table, sides: Mapping[str, tuple[Sequence[Any], bool]], limit: float) -> float | None:
    """The share of a box's rows whose mean cost is within the limit; None of an empty one."""
    inside = _inside(table, sides)
    return float((table.means[inside] <= limit).mean()) if inside.any() else None


def _mean(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.2f}" if values else ""


def page(content: Mapping[str, Any]) -> str:
    """What was measured, as Markdown."""
    rows = content["rows"]
    text = f"""# Settings that are as good as the best: are they?

`python studies/benchmarks/region.py --tables FILE... --trials {content["trials"]}`; {listed(content["versions"])};
{content["machine"]}. "Good" is the share of the rows in a region that are truly no more than its margin worse than the
setting it lies around; "sure" is what the region says that to be. "Within noise": no more worse than the margin, or
than one standard deviation between the recorded seeds of the table's best twentieth where that is more. "Size" is the
share of the space. The plain region is the box around the trials whose own scores are within the margin of the best.

| table | n | regions | sure | good | within noise | size | left whole | margin / noise | plain: good, size |
|---|---|---|---|---|---|---|---|---|---|
"""
    for name in dict.fromkeys(row["table"] for row in rows):
        mine = [row for row in rows if row["table"] == name]
        have = [row for row in mine if row.get("good") is not None]
        ratio = [row["margin"] / row["noise"] for row in have if row["noise"]]
        text += (
            f"| {name} | {len(mine)} | {len(have)} | {_mean([r['sure'] for r in have])}"
            f" | {_mean([r['good'] for r in have])} | {_mean([r['within noise'] for r in have])}"
            f" | {statistics.mean([r['share'] for r in have]) if have else math.nan:.2g}"
            f" | {_mean([r['whole'] for r in have])} of {mine[0].get('hyperparameters', '')} | {_mean(ratio)}"
            f" | {_mean([r['plain good'] for r in have if r['plain good'] is not None])},"
            f" {statistics.mean([r['plain share'] for r in have]) if have else math.nan:.2g} |\n"
        )
    have = [row for row in rows if row.get("good") is not None]
    text += (
        f"\nAll {len(have)} regions: sure {_mean([r['sure'] for r in have])}, good {_mean([r['good'] for r in have])},"
    )
    text += f" within noise {_mean([r['within noise'] for r in have])}"
    return text + f"; plain: good {_mean([r['plain good'] for r in have if r['plain good'] is not None])}.\n"


def main() -> None:
    """Measure every table and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, nargs="+", required=True)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows = []
    for path in arguments.tables:
        table = Table(path)
        for seed in range(arguments.seeds):
            rows.append(measure(table, arguments.trials, seed))
            print(rows[-1], flush=True)
    content = {
        "machine": machine(),
        "versions": versions("lab", "optuna", "scikit-learn"),
        "trials": arguments.trials,
        "rows": rows,
    }
    keep(arguments.output, content, page(content))


if __name__ == "__main__":
    main()
