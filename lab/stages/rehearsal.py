"""A rehearsal of a study's end, before anything trains: untrained models are averaged, chosen among, calibrated, scored
and shown as trained ones will be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lab.errors import TaskError
from lab.stages.final import CYCLICAL, LONG, Run
from lab.stages.predictor import model_outputs
from lab.stages.selection import Trained, conclude
from lab.tasks.beside import Beside
from lab.tasks.build import build_model
from lab.tasks.checks import tried
from lab.tasks.task import Task

_EXAMPLES = 16
_ROLES = (LONG, LONG, CYCLICAL)


def rehearsed(task: Task, params: Mapping[str, Any]) -> str:
    """That a study can end with a task, in a line.

    Raises:
        TaskError: its models cannot be averaged, or something will be lacking beside them.
    """
    lacks = rehearse(task, params)
    if lacks:
        raise TaskError(f"{type(task).__name__}: {lacks[0]}")
    return f"{len(_ROLES)} untrained models averaged, calibrated, scored and shown"


def rehearse(task: Task, params: Mapping[str, Any]) -> tuple[str, ...]:
    """What will be lacking beside the models of a task, a line each, as a few validation examples show it.

    Raises:
        TaskError: its models cannot be averaged, and all that is trained would be lost.
    """
    x, y = task.data("valid")
    rows = torch.linspace(0, len(y) - 1, min(len(y), _EXAMPLES)).long()
    x, y = x[rows], y[rows]
    outputs = [
        model_outputs(task, build_model(task, params, seed, task.model_input(x)), x) for seed in range(len(_ROLES))
    ]
    if task.kind != "regression" and outputs[0].ndim != y.ndim + (task.kind == "classification"):
        raise TaskError(f"{type(task).__name__}.predict: must give probabilities [n, c]; got {tuple(outputs[0].shape)}")
    runs = [Run(role, i, i, dict(params), 1, "completed", None, ("0",)) for i, role in enumerate(_ROLES)]
    trained = [Trained(run, "0", output, output) for run, output in zip(runs, outputs, strict=True)]
    beside = Beside()
    tried(f"{type(task).__name__}.predict", lambda: conclude(task, runs, trained, {None: y}, y, beside))
    return beside.lacks
