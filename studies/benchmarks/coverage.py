"""How often the forest's intervals hold on trials that it has not seen, on recorded trainings.

    python studies/benchmarks/coverage.py --tables FILE... [--budgets FILE --result loss --budget epochs_budget]

A forest is fitted to a few hundred rows of a table, each with the score of one recorded seed, and asked for others. A
`--budgets` table has one result per row and the epochs among its inputs; rows of one setting are held out together.
One line of JSON per table: R2 out of bag and held out, and coverage of the 80 % and 95 % intervals.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from search_problems import Table

from lab.response.encode import Encoding
from lab.response.forest import Forest

Floats = NDArray[np.float64]
LEVELS = (0.8, 0.95)


def measure(features: Floats, target: Floats, group: NDArray[Any], trials: int, draws: int) -> dict[str, Any]:
    """Means over random splits: `trials` groups to fit to, up to 2,000 others to ask for."""
    rows: list[list[float]] = []
    names = np.unique(group)
    for seed in range(draws):
        order = np.random.default_rng(seed).permutation(names)
        fit, test = np.isin(group, order[:trials]), np.isin(group, order[trials : trials + 2000])
        forest = Forest(seed).fit(features[fit], target[fit])
        error = target[test] - forest.predict(features[test]).mean
        row = [forest.out_of_bag_r2() or 0.0, 1 - float((error**2).mean() / target[test].var())]
        for level in LEVELS:
            low, high = forest.intervals(features[test], level)
            row.append(float(((low <= target[test]) & (target[test] <= high)).mean()))
        rows.append(row)
    r2, held, *covered = np.mean(rows, axis=0).round(3).tolist()
    return {"out_of_bag_r2": r2, "held_out_r2": held} | {
        f"coverage_{level:.0%}": share for level, share in zip(LEVELS, covered, strict=True)
    }


def _table(path: Path, rng: np.random.Generator) -> tuple[Floats, Floats, NDArray[Any]]:
    table = Table(path)
    rows = rng.choice(table.rows, min(table.rows, 12_000), replace=False)
    points = [table.params(int(row)) for row in rows]
    encoding = Encoding(table.space)
    scores = np.array([table.observe(point, 1, rng) for point in points])
    return encoding.features(encoding.units(points)), table.shaped(scores), rows


def _budgets(path: Path, result: str, budget: str, group: str) -> tuple[Floats, Floats, NDArray[Any]]:
    """Inputs of any kind, numbers by their rank; what a row lacks is a parameter that its setting does not have."""
    frame = pd.read_parquet(path)
    frame = frame[np.isfinite(frame[result])].reset_index(drop=True)
    inputs = frame.drop(columns=[result, group, "seconds"], errors="ignore")
    space: dict[str, BaseDistribution] = {}
    columns: dict[str, list[Any]] = {}
    for name in inputs.columns:
        values = inputs[name]
        if pd.api.types.is_numeric_dtype(values) and values.dtype != bool:
            columns[name] = values.rank(pct=True).tolist()
            space[name] = FloatDistribution(0, 1)
        else:
            columns[name] = values.astype(str).tolist()
            space[name] = CategoricalDistribution(sorted(set(columns[name])))
    points = [
        {name: column[row] for name, column in columns.items() if column[row] == column[row]}
        for row in range(len(frame))
    ]
    encoding = Encoding(space)
    groups = pd.factorize(frame[group])[0]
    assert budget in space
    return encoding.features(encoding.units(points)), frame[result].to_numpy(np.float64), groups


def main() -> None:
    """Print one line per table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, nargs="*", default=[])
    parser.add_argument("--budgets", type=Path, nargs="*", default=[])
    parser.add_argument("--result", default="loss")
    parser.add_argument("--budget", default="epochs_budget")
    parser.add_argument("--group", default="config_id")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--draws", type=int, default=10)
    arguments = parser.parse_args()
    loaded = [(path.stem, _table(path, np.random.default_rng(0))) for path in arguments.tables]
    loaded += [
        (path.stem, _budgets(path, arguments.result, arguments.budget, arguments.group)) for path in arguments.budgets
    ]
    for name, (features, target, group) in loaded:
        measured = measure(features, target, group, arguments.trials, arguments.draws)
        print(json.dumps({"table": name, "trials": arguments.trials} | measured), flush=True)


if __name__ == "__main__":
    main()
