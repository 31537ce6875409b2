"""What a study hands over and what stands beside it, as rows: test scores, and the epochs trained to get them.

An epoch is one of the training split; one of training and validation split together counts as more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.record.folder import Record
from lab.record.trials import TrialRow, read_stages
from lab.spec.study import StudySpec
from lab.spec.trial import Outcome
from lab.stages import TRAINS

DELIVERED, UNREFITTED = "delivered", "chosen, train only"
_REFIT = "refit"


@dataclass(frozen=True)
class Row:
    """One way to spend compute."""

    name: str
    test: Mapping[str, float | None]
    """By metric."""
    epochs: float
    """Epochs of everything that was trained to get it, the search for its setting too."""
    own_epochs: float | None = None
    """Epochs of its own models alone."""
    seconds: float | None = None
    failed: str = ""
    """Why there are no scores."""


def loss_of(test: Mapping[str, float | None]) -> float | None:
    """Negative log-likelihood, or the mean squared error; None where the metrics have neither."""
    for name in ("nll", "mse"):
        if name in test:
            return test[name]
    rmse = test.get("rmse")
    return None if rmse is None else rmse**2


def numbers(test: object) -> dict[str, float | None]:
    """Scores by metric, each a number, null, or a mapping with a mean."""
    scores = test if isinstance(test, Mapping) else {}
    means = {str(k): v.get("mean") if isinstance(v, Mapping) else v for k, v in scores.items()}
    return {k: float(v) for k, v in means.items() if isinstance(v, (int, float)) and math.isfinite(v)}


def handed_over(
    ensemble: Mapping[str, Any], refit: Mapping[str, Any] | None, trained: float, refitted: float
) -> list[Row]:
    """What the study hands out, and, where that is a refit, what was chosen before it.

    Args:
        ensemble: the artefact of stage `ensemble`.
        refit: that of stage `refit`; None where a version has none.
        trained: epochs of all stages but the refit.
        refitted: epochs of the refit.
    """
    chosen = ensemble["chosen"]
    before = numbers(chosen["test"])
    own = float(chosen["epochs"])
    after = numbers(refit.get("test")) if refit is not None and refit.get("skipped") is None else {}
    if not after:
        return [Row(DELIVERED, before, trained + refitted, own)]
    return [Row(DELIVERED, after, trained + refitted, own + refitted), Row(UNREFITTED, before, trained, own)]


def study_rows(spec: StudySpec, record: Record, epoch_steps: int, both: float) -> list[Row]:
    """The rows that a complete study has itself.

    Args:
        epoch_steps: optimizer steps of an epoch.
        both: examples of training and validation split together, as a multiple of the training split's.
    """
    ensemble = record.artefact("ensemble")
    assert ensemble is not None  # the study is complete
    refit = record.artefact(_REFIT)
    spent = epochs_by_stage(spec, record, epoch_steps)
    refitted = both * (spent.pop(_REFIT, 0.0) or _epochs_of(refit))
    trained = sum(spent.values())
    search = trained - spent["final"]
    rows = handed_over(ensemble, refit, trained, refitted)
    rows += [
        Row(one["name"], numbers(one["test"]), search + one["epochs"], one["epochs"]) for one in ensemble["controls"]
    ]
    for one in ensemble.get("baselines", ()):
        scores = numbers(one.get("with_valid") or one.get("test"))  # trained on what is handed over was trained on
        rows.append(Row(one["name"], scores, 0.0, 0.0, one.get("fit_s"), one.get("failed", "")))
    return rows


def _epochs_of(refit: Mapping[str, Any] | None) -> float:
    """What a refit says of itself, where no trial of it was kept."""
    value = None if refit is None or refit.get("skipped") is not None else refit.get("epochs")
    return float(value) if isinstance(value, (int, float)) else 0.0


def epochs_by_stage(spec: StudySpec, record: Record, epoch_steps: int) -> dict[str, float]:
    """Epochs that each stage has trained; what ended early counts as far as it came."""
    trials = read_stages(record, TRAINS, spec.store)
    return {stage: sum(_epochs(row, epoch_steps) for row in rows) for stage, rows in trials.items()}


def _epochs(row: TrialRow, epoch_steps: int) -> float:
    if row.step_losses:  # a range test, whose epochs are not the data's
        return len(row.step_losses) / epoch_steps
    return row.trial.epochs if row.outcome is Outcome.COMPLETED else len(row.curve)
