"""The tutorial: Optuna's TPE over a plain PyTorch loop with torch's own AdamW and OneCycleLR.

Both take the study's own task: model, data, augmentation, loss, metric. The space is the study's, the range of max_lr
that its range test has found included, without `cycles`, which OneCycleLR does not have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import torch
from outcome_rows import Row
from plain_batch import augmented
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from lab.errors import StudyError
from lab.spec.distributions import distributions
from lab.spec.space import Space
from lab.spec.study import StudySpec
from lab.spec.trial import derive_seed
from lab.tasks.build import build_model
from lab.tasks.task import Task
from lab.training.ensemble import scores

Tools = Callable[[nn.Module, Mapping[str, Any], int], tuple[Optimizer, LRScheduler]]
"""Optimizer and scheduler of a model, by hyperparameters and the number of steps."""

ONCE, SEEDS = "tutorial (Optuna TPE, plain PyTorch)", 3
AVERAGED = f"tutorial, {SEEDS} seeds averaged"


def one_cycle(model: nn.Module, params: Mapping[str, Any], steps: int) -> tuple[Optimizer, LRScheduler]:
    """As tutorials have it."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=params["max_lr"], weight_decay=params["weight_decay"])
    return optimizer, OneCycleLR(optimizer, params["max_lr"], total_steps=steps)


def train(
    task: Task, params: Mapping[str, Any], seed: int, epochs: int, batch_size: int, tools: Tools = one_cycle
) -> Iterator[nn.Module]:
    """The model after each epoch; it is the same one, trained further."""
    x, y = task.data("train")
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    model = build_model(task, params, seed, task.model_input(x[:1]))
    steps = len(x) // batch_size
    optimizer, scheduler = tools(model, params, steps * epochs)
    for _ in range(epochs):
        model.train()
        order = torch.randperm(len(x))
        for rows in torch.split(order[: steps * batch_size], batch_size):
            inputs, targets = augmented(task, x[rows], y[rows], random, params)
            optimizer.zero_grad()
            torch.autograd.backward(task.loss(model(inputs), targets).mean())
            optimizer.step()
            scheduler.step()
        yield model


@torch.no_grad()
def output(task: Task, model: nn.Module, x: Tensor) -> Tensor:
    """What a model gives for inputs [n, ...]."""
    model.eval()
    return torch.cat([model(task.model_input(part)) for part in torch.split(x, 1024)])


@dataclass(frozen=True)
class Search:
    """What a search has chosen, and the epochs that it took."""

    params: Mapping[str, Any]
    epochs: int


def search(
    spec: StudySpec,
    task: Task,
    space: Space,
    stop: Callable[[int, int], bool],
    pruner: optuna.pruners.BasePruner | None = None,
) -> Search:
    """Search with TPE, each trial for the study's epochs of a trial.

    Args:
        space: with bounds.
        stop: whether to end, by the number of trials and of epochs so far.
        pruner: what ends trials early; None: nothing does.

    Raises:
        StudyError: no trial completed.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=spec.seed),
        pruner=pruner or optuna.pruners.NopPruner(),
        direction=task.direction,
        study_name=f"tutorial-{spec.seed}",  # Hyperband's brackets depend on it
    )
    axes = distributions(Space({name: dimension for name, dimension in space.items() if name != "cycles"}))
    epochs = trials = 0
    x, y = task.data("valid")
    while not stop(trials, epochs):
        trial = study.ask(axes)
        score, state = math.nan, optuna.trial.TrialState.COMPLETE
        seed = derive_seed(spec.seed, "tutorial", trial.number)
        for epoch, model in enumerate(train(task, trial.params, seed, spec.search.epochs, spec.batch_size), start=1):
            epochs += 1
            score = float(task.metrics[task.metric](output(task, model, x), y))
            if not math.isfinite(score):
                state = optuna.trial.TrialState.FAIL
                break
            trial.report(score, epoch)
            if epoch < spec.search.epochs and trial.should_prune():
                state = optuna.trial.TrialState.PRUNED
                break
        study.tell(trial, score if state is optuna.trial.TrialState.COMPLETE else None, state)
        trials += 1
    if not any(trial.state is optuna.trial.TrialState.COMPLETE for trial in study.trials):
        raise StudyError(f"tutorial: none of {trials} trials completed")
    return Search(study.best_params, epochs)


def retrained(spec: StudySpec, task: Task, params: Mapping[str, Any], seeds: int) -> Tensor:
    """Test predictions [seeds, n, ...] of models of the final length."""
    x = task.data("test")[0]
    predictions = []
    for number in range(seeds):
        seed = derive_seed(spec.seed, "tutorial, final", number)
        *_, model = train(task, params, seed, spec.final.epochs, spec.batch_size)
        predictions.append(task.predict(output(task, model, x)))
    return torch.stack(predictions)


def tutorial(spec: StudySpec, task: Task, space: Space) -> list[Row]:
    """Its rows: as many trials and epochs as the study's search, then the best setting at the final length."""
    chosen = search(spec, task, space, lambda trials, epochs: trials >= spec.search.trials)
    predictions = retrained(spec, task, chosen.params, SEEDS)
    y = task.data("test")[1]
    return [
        Row(
            name,
            scores(predictions[:count].mean(dim=0), y, task.kind, task.metrics),
            chosen.epochs + count * spec.final.epochs,
            count * spec.final.epochs,
        )
        for name, count in ((ONCE, 1), (AVERAGED, SEEDS))
    ]
