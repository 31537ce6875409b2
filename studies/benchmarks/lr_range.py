"""How good is a rule that reads a learning rate off a range test?

For each problem: the truth, a sweep of max_lr (16 values x 12 seeds) of 1cycle trainings of the planned budget; and 20
range tests, read by every rule. Reported per rule: log10 distance of its median to the best rate, and to the nearest
rate that is as good within a standard error of the sweep; the score lost against the best rate (interpolated on the
sweep's means), and the largest over the smallest of its readings. `agreed` is what our range tests say: five runs read
together, so its 20 readings are of four disjoint groups of runs and sixteen random ones. `tried` is what a study takes:
for each of these, trainings on three seeds, and on two, at each of a few rates around that.

    python studies/benchmarks/lr_range.py [--data DIR] [--tasks NAME ...] [--json FILE] [--curves FILE]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from measured import machine, versions
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, make_friedman1
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from lab.lanes.local import LocalEngine
from lab.range_test import MOST_MORE, MULTIPLES, RULES, Run, Tried, agree, beyond, decide, read
from lab.record.folder import Record
from lab.record.trials import TrialRow, read_trials
from lab.schedules import Ramp
from lab.spec.plan import Job, Recipe, TaskRef, Training
from lab.spec.space import Float, Space
from lab.spec.trial import Trial
from lab.tasks.task import Data, Split, Task

SWEEP = np.geomspace(1e-4, 10.0, 16)
SEEDS, TESTS, GROUP = 12, 20, 5
TRIED_SEEDS, AUTO_SEEDS = {"tried": 3, "tried on 2": 2}, 5
STEPS, START, END, STOP_AT = 100, 1e-6, 10.0, 4.0
DATA = Path()


class Classification(Task):
    """Arrays, a split of 20 % for validation (stratified, random_state 0), and a network."""

    def __init__(self, batch_size: int = 64) -> None:
        self.batch_size = batch_size

    def arrays(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        raise NotImplementedError

    def network(self, inputs: int, classes: int) -> nn.Module:
        return nn.Sequential(*block(inputs, 128, 0.1), *block(128, 128, 0.1), nn.Linear(128, classes))

    @cached_property
    def splits(self) -> dict[str, Data]:
        x, y = self.arrays()
        train, valid = train_test_split(range(len(x)), test_size=0.2, stratify=y, random_state=0)
        mean, std = x[train].mean(axis=0), x[train].std(axis=0) + 1e-6
        if x.ndim > 2:
            mean, std = x[train].mean(), x[train].std()
        ready = torch.tensor((x - mean) / std, dtype=torch.float32)
        target = torch.tensor(y, dtype=torch.int64)
        return {"train": (ready[train], target[train]), "valid": (ready[valid], target[valid])}

    def data(self, split: Split) -> Data:
        return self.splits[split]

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        x, y = self.splits["train"]
        return self.network(x.shape[1], int(y.max()) + 1)


class Regression(Classification):
    """A few hundred rows: values of mean 0 and standard deviation 1, scored by R2 or 0, whichever is larger."""

    metric = "r2"

    def __init__(self, read: Callable[[], Any]) -> None:
        super().__init__()
        self.read_arrays = read
        self.metrics = {"r2": lambda output, target: (1 - (output[:, 0] - target).square().mean()).clamp_min(0)}

    def arrays(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        x, y = self.read_arrays()
        return x, y

    @cached_property
    def splits(self) -> dict[str, Data]:
        x, y = self.arrays()
        train, valid = train_test_split(range(len(x)), test_size=0.2, random_state=0)
        mean, std = x[train].mean(axis=0), x[train].std(axis=0) + 1e-6
        ready = torch.tensor((x - mean) / std, dtype=torch.float32)
        target = torch.tensor((y - y[valid].mean()) / y[valid].std(), dtype=torch.float32)
        return {"train": (ready[train], target[train]), "valid": (ready[valid], target[valid])}

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return self.network(self.splits["train"][0].shape[1], 1)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output[:, 0] - target) ** 2


def block(inputs: int, outputs: int, rate: float) -> list[nn.Module]:
    """Linear, batch norm, ReLU, dropout."""
    return [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU(), nn.Dropout(rate)]


def convolutions(channels: tuple[int, ...], features: int, classes: int) -> nn.Module:
    """3x3 convolutions with batch norm, pooled after each but the first."""
    layers: list[nn.Module] = []
    for number, (inputs, outputs) in enumerate(pairwise(channels)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if number else []
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, classes))


class DigitsMLP(Classification):
    def arrays(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        x, y = load_digits(return_X_y=True)
        return x / 16, y


class DigitsCNN(DigitsMLP):
    def arrays(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        x, y = super().arrays()
        return x.reshape(-1, 1, 8, 8), y

    def network(self, inputs: int, classes: int) -> nn.Module:
        return convolutions((1, 16, 32, 32), 128, classes)


class BreastCancer(Classification):
    def arrays(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        x, y = load_breast_cancer(return_X_y=True)
        return x, y


class Adult(Classification):
    """8,000 rows; numbers standardised, strings one-hot."""

    def arrays(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        frame = pd.read_csv(DATA / "tabular/adult_train.csv", skipinitialspace=True).sample(8000, random_state=0)
        target = frame.pop("income").astype(str).str.contains(">50K").to_numpy(dtype=np.int64)
        return pd.get_dummies(frame).to_numpy(dtype=np.float32), target


class Cifar(Classification):
    """2,000 images of CIFAR-10 and a small convolutional network."""

    def arrays(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        import io

        from PIL import Image

        frame = pd.read_parquet(DATA / "cifar10/train.parquet").sample(2000, random_state=0)
        column = "img" if "img" in frame else "image"
        images = [np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB")) for cell in frame[column]]
        x = np.stack(images).transpose(0, 3, 1, 2).astype(np.float32) / 255
        return x, frame["label"].to_numpy(dtype=np.int64)

    def network(self, inputs: int, classes: int) -> nn.Module:
        return convolutions((3, 8, 16, 32, 32), 512, classes)


@dataclass(frozen=True)
class Problem:
    """A task with the budget it is trained for."""

    make: Callable[[], Classification]
    epochs: int
    path: str
    width: int


PROBLEMS: dict[str, Problem] = {
    "digits_mlp": Problem(DigitsMLP, 10, "stacked", 13),
    "digits_cnn": Problem(DigitsCNN, 10, "stacked", 4),
    "breast_cancer": Problem(lambda: BreastCancer(32), 10, "stacked", 13),
    "diabetes": Problem(lambda: Regression(lambda: load_diabetes(return_X_y=True)), 10, "stacked", 13),
    "friedman": Problem(lambda: Regression(lambda: make_friedman1(400, noise=1.0, random_state=0)), 10, "stacked", 13),
    "adult": Problem(Adult, 5, "stacked", 13),
    "cifar": Problem(Cifar, 6, "sequential", 1),
}
NEED_DATA = ("adult", "cifar")


def train(problem: Problem, task: Classification, plan: tuple[Trial, ...], losses: bool) -> list[TrialRow]:
    """Train a plan on one lane of this process."""
    examples = len(task.data("train")[0])
    steps = min(examples // task.batch_size, STEPS) if losses else None
    training = Training(
        {"kind": "adamw"}, task.batch_size, problem.path, 1, "cpu", steps, losses, STOP_AT if losses else None
    )
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            stage="final",
            folder=Path(folder),
            task=TaskRef("benchmark", instance=task),
            space=Space(max_lr=Float(1e-7, 10, log=True)),
            recipe=Recipe(),
            training=training,
            direction="maximize",
            metric=task.metric,
            seed=0,
            width=problem.width,
            lanes=1,
            plan=plan,
        )
        LocalEngine(1, lambda progress: True).run(job)
        rows = read_trials(Record(Path(folder)), "final")
    return sorted(rows, key=lambda row: row.plan_index or 0)


def sweep(problem: Problem, task: Classification) -> np.ndarray[Any, Any]:
    """Score [rates, seeds] of 1cycle trainings, accuracy or R2; a diverged one has the least there is."""
    plan = tuple(Trial({"max_lr": float(lr)}, seed, problem.epochs, "sweep") for lr in SWEEP for seed in range(SEEDS))
    scores = [0.0 if row.score is None else row.score for row in train(problem, task, plan, losses=False)]
    return np.array(scores).reshape(len(SWEEP), SEEDS)


def range_tests(problem: Problem, task: Classification) -> list[Run]:
    """Twenty range tests."""
    steps = min(len(task.data("train")[0]) // task.batch_size, STEPS)
    epochs = -(-STEPS // steps)
    ramp = Ramp(start=START, end=END)
    plan = tuple(Trial({"max_lr": 1e-3}, 1000 + s, epochs, "test", own_schedule=ramp) for s in range(TESTS))
    lrs = ramp.curves(None, epochs * steps).lr
    runs = []
    for row in train(problem, task, plan, losses=True):
        losses = np.array([np.nan if loss is None else loss for loss in row.step_losses])
        runs.append(Run(row.trial.seed, 0.01, lrs[: len(losses)], losses))
    return runs


def tried_rates(problem: Problem, task: Classification, suggestions: list[float], seeds: int) -> list[float]:
    """For each suggestion, what trainings at and around it, and beyond an end that is best, make of it."""
    rates = [[lr for m in MULTIPLES if START <= (lr := m * suggestion) <= END] for suggestion in suggestions]
    tried: list[dict[float, Tried]] = [{} for _ in suggestions]
    for _ in range(1 + MOST_MORE):
        new = [(number, lr) for number, mine in enumerate(rates) for lr in mine]
        plan = tuple(
            Trial({"max_lr": lr}, 10_000 + seeds * number + seed, problem.epochs, "tried")
            for number, lr in new
            for seed in range(seeds)
        )
        scores = iter([row.score for row in train(problem, task, plan, losses=False)] if plan else [])
        for number, lr in new:
            tried[number][lr] = Tried(lr, tuple(next(scores) for _ in range(seeds)))
        further = [beyond(rising(mine), near, task.direction) for mine, near in zip(tried, suggestions, strict=True)]
        rates = [[lr] if lr is not None and START <= lr <= END else [] for lr in further]
    decided = [decide(rising(mine), near, task.direction) for mine, near in zip(tried, suggestions, strict=True)]
    return [near if one is None else one.suggestion for one, near in zip(decided, suggestions, strict=True)]


def rising(tried: Mapping[float, Tried]) -> list[Tried]:
    return [tried[lr] for lr in sorted(tried)]


@dataclass(frozen=True)
class Truth:
    """The sweep's means, smoothed over neighbours (1, 2, 1)."""

    best: float
    as_good: list[float]
    """Rates that are not worse than the best by more than the standard error of a difference."""
    smoothed: np.ndarray[Any, Any]

    def at(self, lr: float) -> float:
        """The score at any rate."""
        return float(np.interp(np.log(lr), np.log(SWEEP), self.smoothed))


def truth(scores: np.ndarray[Any, Any]) -> Truth:
    """The best rates of a sweep's scores [rates, seeds]."""
    mean = scores.mean(axis=1)
    padded = np.concatenate([mean[:1], mean, mean[-1:]])
    smoothed = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    error = np.sqrt(2 / scores.shape[1] * np.median(scores.var(axis=1, ddof=1)))
    return Truth(float(SWEEP[smoothed.argmax()]), SWEEP[smoothed >= smoothed.max() - error].tolist(), smoothed)


def judge(readings: list[float], true: Truth) -> dict[str, float]:
    """What a rule's readings are worth."""
    median = float(np.exp(np.median(np.log(readings))))
    return {
        "median": median,
        "log10_distance": float(np.log10(median / true.best)),
        "log10_to_as_good": float(min(abs(np.log10(median / lr)) for lr in true.as_good)),
        "regret_points": 100 * float(np.mean([true.at(true.best) - true.at(lr) for lr in readings])),
        "spread": max(readings) / min(readings),
    }


def groups(runs: list[Run]) -> list[list[Run]]:
    """Four disjoint groups of five runs, and sixteen random ones: twenty readings, as the other rules have."""
    rng = np.random.default_rng(0)
    disjoint = [runs[i : i + GROUP] for i in range(0, TESTS, GROUP)]
    return disjoint + [[runs[i] for i in rng.choice(TESTS, GROUP, replace=False)] for _ in range(16)]


def measure(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """One problem's table, and its raw curves."""
    problem = PROBLEMS[name]
    task = problem.make()
    scores = sweep(problem, task)
    runs = range_tests(problem, task)
    true = truth(scores)
    readings = [read(run, STOP_AT) for run in runs]
    table = {rule: judge([r.rules[rule] for r in readings if r.rules], true) for rule in RULES}
    suggestions = [agree([read(run, STOP_AT) for run in group], END).suggestion for group in groups(runs)]
    agreed = [lr for lr in suggestions if lr is not None]
    table["agreed"] = judge(agreed, true)
    tried = {rule: tried_rates(problem, task, agreed, seeds) for rule, seeds in TRIED_SEEDS.items()}
    table |= {rule: judge(rates, true) for rule, rates in tried.items()}
    auto = float(np.exp(np.median(np.log(tried["tried"]))))
    plan = tuple(Trial({"max_lr": auto}, 100 + seed, problem.epochs, "auto") for seed in range(AUTO_SEEDS))
    trained = [row.score for row in train(problem, task, plan, losses=False)]
    result = {
        "auto": {"max_lr": auto, "scores": trained, "mean": float(np.mean([s or 0.0 for s in trained]))},
        "task": name,
        "epochs": problem.epochs,
        "best_lr": true.best,
        "as_good": true.as_good,
        "sweep": [{"lr": float(lr), "score": a.mean(), "std": a.std()} for lr, a in zip(SWEEP, scores, strict=True)],
        "rules": table,
        "readings": {"agreed": agreed, **tried},
    }
    curves = {"sweep": scores.tolist(), "runs": [{"lrs": r.lrs.tolist(), "losses": r.losses.tolist()} for r in runs]}
    return result, curves


def main() -> None:
    """Measure every problem and print the table."""
    global DATA  # the tasks read their files from here
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with tabular/ and cifar10/; without it they are left out")
    parser.add_argument("--tasks", nargs="+", choices=list(PROBLEMS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--curves", type=Path)
    arguments = parser.parse_args()
    DATA = arguments.data or Path()
    names = arguments.tasks or [n for n in PROBLEMS if arguments.data or n not in NEED_DATA]
    torch.set_num_threads(1)
    results, raw = [], {}
    for name in names:
        result, raw[name] = measure(name)
        results.append(result)
        as_good = ", ".join(f"{lr:.2g}" for lr in result["as_good"])
        print(f"{name}: best max_lr {result['best_lr']:.2g} ({result['epochs']} epochs), as good: {as_good}")
        auto = result["auto"]
        print(f"  1cycle at the tried {auto['max_lr']:.3g}: score {auto['mean']:.4f} ({AUTO_SEEDS} seeds)")
        for rule, row in result["rules"].items():
            print(f"  {rule:8}", ", ".join(f"{key} {value:.3g}" for key, value in row.items()), flush=True)
    packages = versions("lab", "torch", "scikit-learn")
    provenance = {
        "machine": machine(),
        "versions": packages,
        "seeds": SEEDS,
        "range_tests": TESTS,
        "group": GROUP,
        "tried_seeds": TRIED_SEEDS,
    }
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({**provenance, "tasks": results}, indent=1) + "\n")
    if arguments.curves:
        arguments.curves.write_text(json.dumps(raw))


if __name__ == "__main__":
    main()
