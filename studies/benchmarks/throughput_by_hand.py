"""The explore stage as it is written by hand on plain Ray Tune: one Ray trial per configuration, reused actors.

Two ways of training a trial: `typical`, as tutorials do it (DataLoader, plain AdamW, torch's schedulers), and `tuned`,
by somebody who knows the costs (tensors indexed in memory, fused AdamW). Both take the task's own model, data,
augmentation, loss and metric. A module of its own, so that Ray's workers import it and read a task's data once each.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from plain_batch import augmented
from ray import tune
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, LRScheduler, OneCycleLR
from torch.utils.data import DataLoader, TensorDataset

from lab.spec.plan import Recipe
from lab.spec.space import Choice, Dimension, Float, FromBounds
from lab.spec.study import StudySpec
from lab.tasks.load import load_task
from lab.tasks.task import Task

Epochs = Callable[[StudySpec, Task, Mapping[str, Any], int], Iterator[float]]


@lru_cache(maxsize=1)
def _loaded(text: str) -> tuple[StudySpec, Task]:
    """A study and its task, once per worker."""
    spec = StudySpec.model_validate_json(text)
    task = load_task(spec.task)
    assert isinstance(task, Task)
    return spec, task


def tuned(spec: StudySpec, task: Task, config: Mapping[str, Any], epochs: int) -> Iterator[float]:
    """The score after each epoch."""
    x, y = task.data("train")
    model = task.model(config)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), eps=1e-5, fused=True)
    steps = len(x) // spec.batch_size
    curves = Recipe().schedule(config).curves(None, steps * epochs)
    random = np.random.default_rng(config["seed"])
    (group,) = optimizer.param_groups
    for epoch in range(epochs):
        model.train()
        order = torch.randperm(len(x))
        for batch in range(steps):
            rows = order[batch * spec.batch_size : (batch + 1) * spec.batch_size]
            step = epoch * steps + batch
            group["lr"], group["weight_decay"] = float(curves.lr[step]), float(curves.weight_decay[step])
            group["betas"] = (float(curves.momentum[step]), 0.99)
            inputs, targets = augmented(task, x[rows], y[rows], random, config)
            optimizer.zero_grad()
            torch.autograd.backward(task.loss(model(inputs), targets).mean())
            optimizer.step()
        yield _score(task, model, spec.batch_size * 4)


def typical(spec: StudySpec, task: Task, config: Mapping[str, Any], epochs: int) -> Iterator[float]:
    """The same."""
    loader = DataLoader(TensorDataset(*task.data("train")), spec.batch_size, shuffle=True, drop_last=True)
    model = task.model(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["max_lr"], weight_decay=config["weight_decay"])
    total = len(loader) * epochs
    scheduler: LRScheduler = (
        OneCycleLR(optimizer, config["max_lr"], total_steps=total)
        if config["cycles"] == 1
        else CosineAnnealingWarmRestarts(optimizer, T_0=-(-total // config["cycles"]))
    )
    random = np.random.default_rng(config["seed"])
    for _ in range(epochs):
        model.train()
        for x, y in loader:
            inputs, targets = augmented(task, x, y, random, config)
            optimizer.zero_grad()
            torch.autograd.backward(task.loss(model(inputs), targets).mean())
            optimizer.step()
            scheduler.step()
        yield _score(task, model, spec.batch_size * 4)


@torch.no_grad()
def _score(task: Task, model: torch.nn.Module, size: int) -> float:
    x, y = task.data("valid")
    model.eval()
    output = torch.cat([model(task.model_input(part)) for part in torch.split(x, size)])
    return float(task.metrics[task.metric](output, y))


def train(config: dict[str, Any], text: str, epochs_of: Epochs, epochs: int) -> None:
    """One trial of Ray Tune."""
    torch.set_num_threads(1)
    spec, task = _loaded(text)
    torch.manual_seed(config["seed"])
    for score in epochs_of(spec, task, config, epochs):
        tune.report({"score": score})


class Bests(tune.Callback):  # type: ignore[misc]  # Ray has no types
    """What would be handed out, from when on: the setting with the best score that any trial has reported."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        if not self.seen or result["score"] > self.seen[-1]["score"]:
            self.seen.append({"at": time.time(), "score": result["score"], "params": dict(trial.config)})


def search(spec: StudySpec, rates: tuple[float, float], side: str) -> dict[str, Any]:
    """Search the spec's space for `search.trials` trials with TPE; `asha` is `tuned` with early stopping.

    Args:
        rates: the range of max_lr, which `lab` finds by itself.
    """
    import optuna
    import ray
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    if side != "typical":
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    method = ConcurrencyLimiter(OptunaSearch(metric="score", mode="max", seed=spec.seed), max_concurrent=2)
    epochs = spec.search.epochs
    asha = ASHAScheduler(max_t=epochs, grace_period=1, reduction_factor=3) if side == "asha" else None
    trainable = tune.with_parameters(
        train, text=spec.model_dump_json(), epochs_of=typical if side == "typical" else tuned, epochs=epochs
    )
    bests = Bests()
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            param_space={name: _domain(dimension, rates) for name, dimension in spec.space.items()}
            | {"seed": tune.randint(0, 2**31 - 1)},
            tune_config=tune.TuneConfig(
                metric="score",
                mode="max",
                num_samples=spec.search.trials,
                search_alg=method,
                scheduler=asha,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0, callbacks=[bests]),
        )
        results = tuner.fit()
        whole = [result for result in results if result.metrics.get("training_iteration") == epochs]
        best = max(whole, key=lambda result: result.metrics["score"])
        done = sum(result.metrics.get("training_iteration", 0) for result in results)
        return {
            "best": best.metrics["score"],
            "params": best.config,
            "trials": len(results),
            "epochs": done,
            "bests": bests.seen,
        }


def _domain(dimension: Dimension, rates: tuple[float, float]) -> Any:
    match dimension:
        case Float(low, high, log):
            return tune.loguniform(low, high) if log else tune.uniform(low, high)
        case Choice(options):
            return tune.choice(list(options))
        case FromBounds():
            return tune.loguniform(*rates)
        case _:
            raise SystemExit(f"no domain of Ray Tune's for {dimension!r}")
