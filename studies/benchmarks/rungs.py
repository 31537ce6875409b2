"""What may a trial's score be compared at before it has ended? Early stopping held against real training.

For each task 96 settings (Sobol points of max_lr, weight decay, dropout) are trained on three seeds: a 1cycle over the
whole 27 epochs, complete 1cycles over 1, 3 and 9 epochs, and SGDR over 27 epochs whose cycles end at 1, 4 and 13.
Every score of every epoch is kept, so that any rule of early stopping can be replayed on them; see `rungs_summary.py`
for what is told of it.

    python studies/benchmarks/rungs.py [--tasks digits noisy adult cifar] [--adult CSV] [--cifar PARQUET]
        [--seeds 3] [--settings 96] [--curves FOLDER] [--json reports/rungs/result.json]

Curves that lie in `--curves` are not trained again, so a benchmark that was stopped goes on, and tasks can be measured
one at a time into one `--json`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measured import machine, versions
from rungs_summary import EPOCHS, RUNGS, Curves, readme, summary
from torch import Tensor, nn

from lab.response.encode import Encoding
from lab.schedules import SGDR, OneCycle, Schedule
from lab.search.candidates import sobol_point
from lab.spec.distributions import distributions
from lab.spec.exchange import Assignment
from lab.spec.plan import TaskRef, Training
from lab.spec.space import Float, Space
from lab.spec.trial import Trial, derive_seed
from lab.tasks.digits import Digits
from lab.tasks.load import load_task
from lab.tasks.task import Data, Split, Task
from lab.training.trainer import ModelTrainer, steps_per_epoch

SPACE = Space(
    {
        "max_lr": Float(1e-4, 1.0, log=True),
        "weight_decay": Float(1e-4, 1.0, log=True),
        "dropout": Float(0.0, 0.6),
    }
)
WIDTH = 32


class Part(Task):
    """Some of another task's examples to learn from, a share of their labels wrong; some or all others to validate on.

    Args:
        task: the other task, of classification.
        train, valid: how many examples there are at most.
        wrong: share of training labels replaced by another class.
    """

    def __init__(self, task: Task, train: int, valid: int, wrong: float = 0.0) -> None:
        self._task, self._train, self._valid, self._wrong = task, train, valid, wrong

    @cached_property
    def _parts(self) -> dict[str, Data]:
        random = np.random.default_rng(0)
        x, y = (torch.cat(both) for both in zip(self._task.data("train"), self._task.data("valid"), strict=True))
        order = torch.from_numpy(random.permutation(len(x)))
        train, valid = order[: self._train], order[self._train :][: self._valid]
        classes = int(y.max()) + 1
        wrong = torch.from_numpy(random.random(len(train)) < self._wrong)
        other = (y[train] + torch.from_numpy(random.integers(1, classes, len(train)))) % classes
        return {"train": (x[train], torch.where(wrong, other, y[train])), "valid": (x[valid], y[valid])}

    def data(self, split: Split) -> Data:
        return self._parts[split]

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return self._task.model(params)

    def model_input(self, x: Tensor) -> Tensor:
        return self._task.model_input(x)


def task_of(name: str, paths: Mapping[str, Path | None]) -> tuple[Task, int]:
    """A task of the benchmark, and its batch size."""
    if name in ("digits", "noisy"):
        return Part(Digits(), 640, 1000, wrong=0.2 if name == "noisy" else 0.0), 32
    path = paths[name]
    if path is None:
        raise SystemExit(f"--{name}: is needed for task '{name}'")
    options: dict[str, Any] = {"path": str(path.resolve())}
    if name == "adult":
        task = load_task(TaskRef("table", options | {"target": "income", "layers": [64, 32]}))
        assert isinstance(task, Task)
        return Part(task, 2048, 2048), 64
    task = load_task(TaskRef("images", options | {"limit": 3000, "size": 16, "model": "small_cnn"}))
    assert isinstance(task, Task)
    return Part(task, 512, 512), 64


def settings(count: int) -> list[dict[str, Any]]:
    """The points that are trained, the same for every task."""
    encoding = Encoding(distributions(SPACE))
    return [encoding.values(sobol_point(len(encoding), n, seed=0)) for n in range(count)]


def kinds(steps: int) -> dict[str, tuple[int, type[Schedule], dict[str, Any]]]:
    """How a setting is trained: name to epochs and schedule."""
    whole: dict[str, tuple[int, type[Schedule], dict[str, Any]]] = {
        f"one_cycle {r}": (r, OneCycle, {}) for r in (*RUNGS, EPOCHS)
    }
    return {**whole, "sgdr": (EPOCHS, SGDR, {"period": steps, "T_mul": 3.0})}


def train(task: Task, batch: int, points: list[dict[str, Any]], seeds: int) -> tuple[Curves, float]:
    """Every point on every seed in every way, as a lane trains them; scores [settings, seeds, epochs] of each way."""
    torch.set_num_threads(1)
    training = Training({"kind": "adamw"}, batch, path="stacked")
    trainer = ModelTrainer(task, training, WIDTH, points[0])
    steps = steps_per_epoch(len(task.data("train")[0]), training)
    ways = kinds(steps)
    curves = {name: np.full((len(points), seeds, epochs), np.nan) for name, (epochs, _, _) in ways.items()}
    # The longest first, so that the slots stay full to the end.
    order = sorted(ways, key=lambda name: -ways[name][0])
    jobs = [(name, p, s) for name in order for p in range(len(points)) for s in range(seeds)]
    running: dict[int, tuple[str, int, int, int]] = {}
    begin = time.perf_counter()
    while jobs or running:
        for slot in range(WIDTH):
            if jobs and slot not in running:
                name, p, s = jobs.pop(0)
                epochs, kind, fields = ways[name]
                taken = {k: points[p][k] for k in ("max_lr", "weight_decay")}
                seed = derive_seed("rungs", p, s)
                trial = Trial(points[p], seed, epochs, own_schedule=kind(**taken, **fields))
                trainer.start(Assignment(p, trial, slot, 0))
                running[slot] = (name, p, s, 0)
        for result in trainer.epoch():
            name, p, s, epoch = running[result.slot]
            curves[name][p, s, epoch] = result.metrics[task.metric]
            running[result.slot] = (name, p, s, epoch + 1)
            if result.outcome is not None:
                trainer.stop(result.slot)
                del running[result.slot]
    return curves, time.perf_counter() - begin


def main() -> None:
    """Train what is not there yet, and sum up everything that is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--tasks", nargs="+", default=["digits", "noisy"], choices=["digits", "noisy", "adult", "cifar"]
    )
    parser.add_argument("--adult", type=Path, help="adult_train.csv, with the column 'income'")
    parser.add_argument("--cifar", type=Path, help="CIFAR-10 as parquet, or any images that the task `images` reads")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--settings", type=int, default=96)
    parser.add_argument("--curves", type=Path, default=Path(tempfile.gettempdir()) / "lab-rungs")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    content = json.loads(arguments.json.read_text()) if arguments.json and arguments.json.exists() else {"tasks": {}}
    for name in arguments.tasks:
        # Convolutions are an order slower here: a quarter of the settings.
        points = settings(arguments.settings // 4 if name == "cifar" else arguments.settings)
        path = arguments.curves / f"{name}-{len(points)}-{arguments.seeds}.npz"
        if not path.exists():
            task, batch = task_of(name, {"adult": arguments.adult, "cifar": arguments.cifar})
            curves, seconds = train(task, batch, points, arguments.seeds)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, allow_pickle=False, seconds=np.array(seconds), **curves)
        with np.load(path) as kept:
            curves, seconds = {k: kept[k] for k in kept.files if k != "seconds"}, float(kept["seconds"])
        units = Encoding(distributions(SPACE)).units(points)
        content["tasks"][name] = {"settings": len(points), "training_s": round(seconds, 1), **summary(curves, units)}
        content |= {
            "seeds": arguments.seeds,
            "machine": machine(),
            "versions": versions("lab", "torch", "numpy", "scipy", "scikit-learn"),
        }
        if arguments.json:
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            arguments.json.write_text(json.dumps(content, indent=1) + "\n")
            (arguments.json.parent / "README.md").write_text(readme(content))
        print(json.dumps({name: content["tasks"][name]}, indent=1))


if __name__ == "__main__":
    main()
