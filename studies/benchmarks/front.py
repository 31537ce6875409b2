"""The front of score and cost after as many trials: a search of both, the search of the score alone, and a Sobol
sequence.

    python studies/benchmarks/front.py --data FOLDER [--seeds 6] [--trials 40] [--only NAME ...] [--out reports/front]

FOLDER holds `tabular/adult_train.csv`. What is compared, seed by seed, is the hypervolume that the trials of a search
cover (Zitzler and Thiele 1999): the share of the plane of error and logarithm of the parameters, from an error of
nothing to that of naming the commonest class, and from the smallest net of the space to the largest, that some trial is
no worse than. A trial's error is that of its one seed on validation, luck included, for all three alike.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import scipy.stats
import torch
from measured import keep, listed, machine, versions
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from torch import nn

import lab
from lab.search import ForestSampler
from lab.tasks.digits import Digits
from lab.tasks.task import Task

COST = "parameters"
METHODS = ("score and parameters", "score alone", "Sobol")
SOBOL = {"kind": "qmc", "scramble": True}
"""Scrambled, so that each seed has a sequence of its own."""
WIDEST, MOST_LAYERS = 256, 3


def net(inputs: int, classes: int, params: Mapping[str, Any]) -> nn.Module:
    """Hidden layers of one width."""
    width, layers = int(params["width"]), int(params["layers"])
    sizes = [inputs, *[width] * layers]
    hidden = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Dropout(float(params["dropout"])), nn.Linear(width, classes))


def parameters(inputs: int, classes: int, width: int, layers: int) -> int:
    return (inputs + 1) * width + (layers - 1) * (width + 1) * width + (width + 1) * classes


class DigitsNet(Digits):
    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return net(64, 10, params)


class AdultNet(Task):
    """3,000 rows of adult, numbers standardised and words as zeros and ones."""

    def __init__(self, data: str) -> None:
        self._rows = _adult(data)
        self.options = {"data": data}

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return net(self._rows[0].shape[1], 2, params)

    def data(self, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        part = {"train": slice(1500), "valid": slice(1500, 2500), "test": slice(2500, None)}[split]
        x, y = self._rows
        return x[part], y[part]


@cache
def _adult(data: str) -> tuple[torch.Tensor, torch.Tensor]:
    rows = pd.read_csv(Path(data) / "tabular" / "adult_train.csv").sample(3000, random_state=0)
    target = torch.tensor((rows.pop("income") == ">50K").to_numpy("int64"))
    table = pd.get_dummies(rows).astype("float32")
    scaled = (table - table.mean()) / table.std().clip(lower=0.1)
    return torch.tensor(scaled.to_numpy("float32")), target


@dataclass(frozen=True)
class Workload:
    """What is searched."""

    inputs: int
    classes: int
    worst: float
    """The error of the commonest class."""
    epochs: int = 0
    """0: a formula."""

    def make(self, data: Path) -> Task:
        return DigitsNet() if self.inputs == 64 else AdultNet(str(data))

    @property
    def ends(self) -> tuple[float, float]:
        """Logarithms of the parameters of the smallest and the largest net."""
        smallest = parameters(self.inputs, self.classes, 1, 1)
        largest = parameters(self.inputs, self.classes, WIDEST, MOST_LAYERS)
        return math.log(smallest), math.log(largest)

    def covered(self, points: Sequence[tuple[float, float]]) -> float:
        """The share of the plane that points of error and parameters cover."""
        low, high = self.ends
        placed = sorted(((math.log(cost) - low) / (high - low), error / self.worst) for error, cost in points)
        area, best = 0.0, 1.0
        for at, error in placed:
            if error < best:
                area += (1 - at) * (best - max(error, 0.0))
                best = error
        return area


def workloads(data: Path) -> dict[str, Workload]:
    x, y = _adult(str(data))
    rare = float(y[1500:2500].float().mean())
    return {
        "digits, 4 epochs": Workload(64, 10, 0.9, 4),
        "3,000 rows of adult, 2 epochs": Workload(x.shape[1], 2, rare, 2),
        "a formula of width, layers, rate and dropout": Workload(64, 10, 1.0),
    }


SPACE: dict[str, BaseDistribution] = {
    "max_lr": FloatDistribution(1e-3, 0.3, log=True),
    "width": IntDistribution(1, WIDEST, log=True),
    "layers": IntDistribution(1, MOST_LAYERS),
    "dropout": FloatDistribution(0.0, 0.5),
}


def of_studies(workload: Workload, data: Path, method: str, seed: int, trials: int) -> list[tuple[float, float]]:
    """Error and parameters of each trial that completed."""
    space = lab.Space(
        max_lr=lab.Float(1e-3, 0.3, log=True),
        width=lab.Int(1, WIDEST, log=True),
        layers=lab.Int(1, MOST_LAYERS),
        dropout=lab.Float(0.0, 0.5),
    )
    search: dict[str, Any] = {"sampler": dict(SOBOL) if method == "Sobol" else {"kind": "forest"}}
    if method == METHODS[0]:
        search["objectives"] = ["score", COST]
    with tempfile.TemporaryDirectory() as folder:
        study = lab.Study(
            workload.make(data),
            space,
            folder=Path(folder) / "run",
            trials=trials,
            epochs=workload.epochs,
            seed=seed,
            search=search,
            execution={"path": "sequential"},
        )
        result = study.run(engine="local", width=4, until="explore", quiet=True)
        of_search = result.trials.query("stage == 'explore' and outcome == 'completed'")
        return [(1 - score, cost) for score, cost in zip(of_search["score"], of_search[COST], strict=True)]


def of_formula(workload: Workload, method: str, seed: int, trials: int) -> list[tuple[float, float]]:
    """The same, of an error that falls with the width as losses of nets do, and rises beside the best rate, which is
    smaller for wide nets. Noise of a seed: 0.01."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    noise = torch.Generator().manual_seed(seed)
    costs = (COST,) if method == METHODS[0] else ()
    forest = ForestSampler(seed, space=SPACE, costs=costs)
    sobol = optuna.samplers.QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)
    study = optuna.create_study(sampler=sobol if method == "Sobol" else forest)
    points: list[tuple[float, float]] = []
    for _ in range(trials):
        trial = study.ask(SPACE)
        width, layers = int(trial.params["width"]), int(trial.params["layers"])
        off = math.log10(trial.params["max_lr"]) + 1 + 0.4 * math.log10(width)
        error = 0.05 + 0.8 * width**-0.6 + 0.05 * (layers - 2) ** 2 + 0.15 * off**2
        error += 0.3 * (trial.params["dropout"] - 0.1) ** 2 + 0.01 * float(torch.randn(1, generator=noise))
        cost = parameters(workload.inputs, workload.classes, width, layers)
        trial.set_user_attr("metrics", {COST: cost})
        study.tell(trial, error)
        points.append((error, cost))
    return points


def measure(name: str, workload: Workload, data: Path, seeds: int, trials: int) -> list[dict[str, Any]]:
    """A row for each search."""
    rows = []
    for seed in range(seeds):
        for method in METHODS:
            if workload.epochs:
                points = of_studies(workload, data, method, seed, trials)
            else:
                points = of_formula(workload, method, seed, trials)
            best = min(error for error, _ in points)
            covered = workload.covered(points)
            rows.append({"what": name, "method": method, "seed": seed, "covered": covered, "best": best})
    return rows


def interval(differences: Sequence[float]) -> str:
    mean = statistics.mean(differences)
    reach = scipy.stats.t.ppf(0.975, len(differences) - 1) * statistics.stdev(differences) / len(differences) ** 0.5
    return f"{mean:+.4f} ({mean - reach:+.4f} to {mean + reach:+.4f})"


def page(rows: list[dict[str, Any]], seeds: int, trials: int) -> str:
    packages = listed(versions("lab", "torch", "optuna"))
    lines = ["# The front of score and parameters", ""]
    lines += [f"Made by `studies/benchmarks/front.py`: {trials} trials a search, {seeds} seeds. Share of the plane of"]
    lines += [
        "error and logarithm of the parameters that the trials cover (larger is better), and the least error of any"
    ]
    lines += ["trial (smaller is better); differences seed by seed to the search of score and parameters, with their"]
    lines += [f"95 % interval (Student's t). {packages}; {machine()}.", ""]
    lines += ["| what | search | covered | score and parameters cover more by | least error | theirs is higher by |"]
    lines += ["|---|---|---|---|---|---|"]
    for name in dict.fromkeys(row["what"] for row in rows):
        of = {m: [row for row in rows if row["what"] == name and row["method"] == m] for m in METHODS}
        both = of[METHODS[0]]
        for method, mine in of.items():
            more = [a["covered"] - b["covered"] for a, b in zip(both, mine, strict=True)]
            worse = [a["best"] - b["best"] for a, b in zip(both, mine, strict=True)]
            cells = ["", ""] if mine is both else [interval(more), interval(worse)]
            means = [statistics.mean(row[key] for row in mine) for key in ("covered", "best")]
            lines.append(f"| {name} | {method} | {means[0]:.4f} | {cells[0]} | {means[1]:.4f} | {cells[1]} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name, workload in workloads(arguments.data).items():
        if not arguments.only or name in arguments.only:
            rows += measure(name, workload, arguments.data, arguments.seeds, arguments.trials)
            keep(arguments.out, {"rows": rows}, page(rows, arguments.seeds, arguments.trials))


if __name__ == "__main__":
    main()
