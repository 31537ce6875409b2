"""What a student of `distill` is worth beside the ensemble that taught it, as values and as lines of a model card."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.report.number import number

if TYPE_CHECKING:
    from torch import Tensor

TAUGHT, LABELS = "taught by the ensemble", "labels alone"
BATCHES = (1, 256)
"""Rows that are predicted at once where a model is timed."""
_TIMED_S = 0.3
_LEAST_TIMES = 5


@dataclass(frozen=True)
class Worth:
    """What a model is worth and what it costs."""

    test: Mapping[str, float]
    """By metric."""
    bytes: int
    """The size of its files."""
    ms_per_row: Mapping[int, float]
    """Median milliseconds to predict a row, by how many rows are predicted at once."""


@dataclass(frozen=True)
class Tried:
    """A way to train the student, judged by the validation rows."""

    name: str
    temperature: float | None
    """That of the targets; None: they are the labels."""
    epochs: int
    valid_loss: float
    """Mean over seeds: negative log-likelihood once calibrated, or the task's own loss of values."""
    test: Mapping[str, float] | None = None
    """None but for the best with a teacher, and the best without."""


@dataclass(frozen=True)
class Distillation:
    """A student, written as a model folder."""

    folder: Path
    metric: str
    student: Worth
    ensemble: Worth
    chosen: Tried
    """How the student was trained."""
    tried: tuple[Tried, ...]
    rows: int
    """What the teacher was asked about: rows given and made up."""
    threads: int
    """PyTorch's, while models were timed."""
    folds: bool = False
    """Whether the ensemble has learned from all validation rows, as one of folds has."""


def ms_per_row(predict: Callable[[Tensor], Tensor], x: Tensor, rows: int) -> float:
    """Median milliseconds to predict a row, of as many at once."""
    import torch

    batch = x[torch.arange(rows) % len(x)]
    taken: list[float] = []
    with torch.inference_mode():
        for _ in range(3):  # what is done once is no part of it
            predict(batch)
        end = time.perf_counter() + _TIMED_S
        while len(taken) < _LEAST_TIMES or time.perf_counter() < end:
            begin = time.perf_counter()
            predict(batch)
            taken.append(time.perf_counter() - begin)
    return 1000 * statistics.median(taken) / rows


def facts(result: Distillation) -> dict[str, Any]:
    """What was found, for `config.json`."""
    from lab.record.artefact import to_json

    return {name: value for name, value in to_json(result).items() if name != "folder"}


def card(result: Distillation) -> list[str]:
    """What was found, in lines of a model card."""
    metric, chosen, best = result.metric, result.chosen, {}
    for one in result.tried:
        if one.test is not None:
            best[one.name] = one
    how = chosen.name + ("" if chosen.temperature is None else f" at temperature {chosen.temperature:g}")
    lines = [
        f"- One net, {how}: {_described(result.student, metric)}.",
        f"- The ensemble: {_described(result.ensemble, metric)}.",
    ]
    other = best[LABELS if chosen.name == TAUGHT else TAUGHT]
    assert other.test is not None  # as above
    lines.append(f"- The same net, {other.name}: {metric} {number(other.test[metric])}.")
    lines.append(f"- Validation losses: {'; '.join(_way(one) for one in result.tried)}.")
    if result.folds:
        lines.append("- The ensemble is of folds and knows the validation rows; their losses favour what it taught.")
    return lines


def _described(worth: Worth, metric: str) -> str:
    times = ", ".join(f"{ms:.3g} ms a row at {rows}" for rows, ms in worth.ms_per_row.items())
    return f"{metric} {number(worth.test[metric])} on the test examples, {worth.bytes:,} bytes, {times}"


def _way(one: Tried) -> str:
    by = f", {one.epochs} epochs" if one.temperature is None else f", temperature {one.temperature:g}"
    return f"{one.name}{by}: {one.valid_loss:.4g}"
