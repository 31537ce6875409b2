"""Tables of trainings of several lengths, each a complete schedule, for `fidelity.py` to replay searches on.

The workloads of `study_throughput.py`, the range of max_lr as their own range test finds it. Sobol points of the space
are trained on several seeds in the search's full length, and on fewer in each shorter one; then, as the range test
does it, the middle of the space at the rates that it tries.

    python studies/benchmarks/fidelity_table.py --data FOLDER --out reports/fidelity/tables [--only adult digits]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measured import machine
from study_throughput import WORKLOADS

from lab.response.encode import Encoding
from lab.search.candidates import sobol_point
from lab.search.forecast import rungs
from lab.spec.distributions import distributions
from lab.spec.exchange import Assignment
from lab.spec.points import template_params
from lab.spec.space import Choice, Params, Space
from lab.spec.study import StudySpec
from lab.spec.trial import Trial, derive_seed
from lab.stages import bounds
from lab.stages.from_bounds import space_of
from lab.study.study import Study
from lab.tasks.load import load_task
from lab.tasks.task import Task
from lab.training.trainer import ModelTrainer

_RATES_SEEDS = 6


@dataclass(frozen=True)
class Size:
    """How much of a workload is trained."""

    settings: int
    full_seeds: int
    short_seeds: int
    width: int


SIZES = {
    "adult": Size(128, 5, 2, 16),
    "digits": Size(128, 5, 2, 16),
    "noisy": Size(128, 5, 2, 16),
    "cifar10": Size(48, 4, 2, 1),
}


@dataclass(frozen=True)
class Wanted:
    """A training of the table."""

    group: str
    """`settings` or `rates`."""
    index: int
    seed: int
    epochs: int
    params: Params


def wanted(spec: StudySpec, space: Space, tried: list[float], size: Size) -> list[Wanted]:
    """All trainings, the longest first, so that slots stay full to the end."""
    encoding = Encoding(distributions(space))
    points = [encoding.values(sobol_point(len(encoding), n, seed=0)) for n in range(size.settings)]
    middle = {**template_params(space, {"batch_size": spec.batch_size}), "cycles": 1}
    rates = [{**middle, "max_lr": lr} for lr in tried]
    full = spec.search.epochs
    figures = [
        Wanted(group, index, seed, epochs, {**fixed(space), **params})
        for group, settings, full_seeds, short_seeds in (
            ("settings", points, size.full_seeds, size.short_seeds),
            ("rates", rates, _RATES_SEEDS, _RATES_SEEDS),
        )
        for epochs in (full, *rungs(full))
        for index, params in enumerate(settings)
        for seed in range(full_seeds if epochs == full else short_seeds)
    ]
    return sorted(figures, key=lambda one: -one.epochs)


def fixed(space: Space) -> Params:
    """Choices that have been made: they are no part of a search by hand either."""
    return {n: d.options[0] for n, d in space.items() if isinstance(d, Choice) and len(d.options) == 1}


def train(spec: StudySpec, task: Task, jobs: list[Wanted], width: int) -> list[list[float]]:
    """The score after each epoch of each; NaN at the end where it diverged."""
    torch.set_num_threads(1)
    training = spec.training()
    trainer = ModelTrainer(task, training, width, jobs[0].params)
    curves: list[list[float]] = [[] for _ in jobs]
    running: dict[int, int] = {}
    waiting = list(range(len(jobs)))
    while waiting or running:
        for slot in range(width):
            if waiting and slot not in running:
                number = waiting.pop(0)
                one = jobs[number]
                seed = derive_seed("fidelity", one.group, one.index, one.seed, one.epochs)
                schedule = spec.schedule.schedule(one.params)
                trainer.start(Assignment(number, Trial(one.params, seed, one.epochs, own_schedule=schedule), slot, 0))
                running[slot] = number
        for result in trainer.epoch():
            curves[running[result.slot]].append(float(result.metrics.get(task.metric, float("nan"))))
            if result.outcome is not None:
                del running[result.slot]
                trainer.stop(result.slot)
                if len(waiting) % 64 == 0:
                    print(len(waiting), "wait", flush=True)
    return curves


def record(name: str, data: Path, studies: Path) -> dict[str, Any]:
    """A workload's table."""
    size = SIZES[name]
    study = Study.from_spec(WORKLOADS[name].study(data, 0), studies / name)  # tested before, it is not again
    study.run(until="bounds")
    spec = study.spec
    tested = bounds.STAGE.need(study.record)
    space = space_of(spec, study.record)
    if "bins" in space:  # a search by hand has the default alone
        space = Space({**space, "bins": Choice((16,))})
    task = load_task(spec.task)
    assert isinstance(task, Task)
    path = "sequential" if size.width == 1 else "stacked"
    spec = spec.changed(execution={"path": path, "threads": 1})
    jobs = wanted(spec, space, [one.lr for one in tested.tried], size)
    begin = time.perf_counter()
    curves = train(spec, task, jobs, size.width)
    return {
        "workload": name,
        "epochs": spec.search.epochs,
        "machine": machine(),
        "training_s": round(time.perf_counter() - begin, 1),
        "metric": task.metric,
        "suggestion": tested.suggestion,
        "by_curve": tested.by_curve,
        "range": [tested.low, tested.high],
        "space": {n: _described(d) for n, d in distributions(space).items() if not d.single()},
        **{
            group: [one.params for _, one in sorted({o.index: o for o in jobs if o.group == group}.items())]
            for group in ("settings", "rates")
        },
        "rows": [
            [one.group, one.index, one.seed, one.epochs, [_rounded(score) for score in curve]]
            for one, curve in zip(jobs, curves, strict=True)
        ],
    }


def _rounded(score: float) -> float | None:
    return None if np.isnan(score) else round(score, 5)


def _described(distribution: Any) -> dict[str, Any]:
    from optuna.distributions import distribution_to_json

    return dict(json.loads(distribution_to_json(distribution)))


def main() -> None:
    """Record what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--studies", type=Path, default=Path(tempfile.gettempdir()) / "lab-fidelity")
    parser.add_argument("--only", nargs="+", choices=list(SIZES), default=list(SIZES))
    arguments = parser.parse_args()
    for name in arguments.only:
        table = record(name, arguments.data.resolve(), arguments.studies)
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / f"{name}.json").write_text(json.dumps(table) + "\n")
        print(name, table["training_s"], "s", flush=True)


if __name__ == "__main__":
    main()
