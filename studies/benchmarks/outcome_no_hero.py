"""No hero: the range test's rate and textbook values, on as many seeds as the whole study's compute pays for.

Trained by lab's own lanes as its final models are, and averaged; nothing is searched and nothing chosen.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from outcome_rows import Row
from torch import Tensor

from lab.errors import StudyError
from lab.lanes.job import make_job
from lab.lanes.local import LocalEngine
from lab.record.folder import Record
from lab.spec.space import Choice, Space
from lab.spec.study import StudySpec
from lab.spec.trial import Trial, derive_seed
from lab.stages.job import run_job
from lab.stages.predictor import member_outputs
from lab.tasks.load import load_task
from lab.tasks.task import TRAIN_AND_VALID, Task, joined
from lab.training.ensemble import fit_temperature, scores, with_temperature

TRAIN, CALIBRATED, BOTH = "no hero, train", "no hero, train, calibrated", "no hero, train + valid"

_WIDTH = 8
"""Runs that are trained as one stacked model."""


def no_hero(spec: StudySpec, task: Task, rate: float, units: float, both: float) -> list[Row]:
    """Its rows.

    Args:
        spec: of the complete study, with everything settled.
        rate: what the range test suggests.
        units: what the study has trained, in runs of the final length.
        both: examples of training and validation split together, as a multiple of the training split's.
    """
    params = {"max_lr": rate, "weight_decay": 0.01, "dropout": 0.1}
    (valid_x, valid_y), (test_x, test_y) = task.data("valid"), task.data("test")
    epochs = spec.final.epochs
    alone, together = (max(round(count), 1) for count in (units, units / both))
    on_valid, on_test = (each.mean(dim=0) for each in outputs(spec, task, params, alone, (valid_x, test_x)))
    predictions = {TRAIN: on_test}
    if task.kind != "regression":
        temperature = fit_temperature(on_valid, valid_y, task.kind)
        predictions[CALIBRATED] = with_temperature(on_test, temperature, task.kind)
    (merged,) = outputs(spec, on_both(spec, task), params, together, (test_x,))
    predictions[BOTH] = merged.mean(dim=0)
    spent = {name: float(alone * epochs) for name in predictions} | {BOTH: together * epochs * both}
    return [
        Row(name, scores(prediction, test_y, task.kind, task.metrics), spent[name], spent[name])
        for name, prediction in predictions.items()
    ]


def on_both(spec: StudySpec, task: Task) -> Task:
    """The task with its validation examples among those that it trains on; its statistics stay as they were fitted."""
    merged = load_task(replace(spec.task, opened=None, instance=None))
    assert isinstance(merged, Task)  # it is of the same kind
    fitted = task.fitted()
    if fitted is not None:
        merged.restore(fitted)
    merged.take({"train": joined(map(task.data, TRAIN_AND_VALID)), "valid": task.data("valid")})
    return merged


def outputs(
    spec: StudySpec, task: Task, params: Mapping[str, Any], seeds: int, inputs: Sequence[Tensor]
) -> list[Tensor]:
    """Predictions [seeds, n, ...] for each of the inputs [n, ...], by models of the final length on so many seeds.

    Raises:
        StudyError: none of them completed.
    """
    # What is not searched may be trained side by side, however few trials the search had at once.
    execution = spec.execution.model_copy(update={"width": _WIDTH, "stack": _WIDTH})
    of_task = spec.model_copy(update={"task": replace(spec.task, opened=task), "execution": execution})
    planned = tuple(
        Trial(dict(params), derive_seed(spec.seed, "no hero", seed), spec.final.epochs, keep=True)
        for seed in range(seeds)
    )
    space = Space({name: Choice((value,)) for name, value in params.items()})
    with tempfile.TemporaryDirectory() as folder:
        record, engine = Record(Path(folder)), LocalEngine(1, lambda progress: True)
        run_job(of_task, record, engine, make_job(of_task, record, engine, "final", planned, space))
        weights = sorted(record.final_folder.glob("*.safetensors"))
        if not weights:
            raise StudyError("no hero: no run left weights")
        return [torch.stack([member_outputs(task, path, dict(params), x) for path in weights]) for x in inputs]
