"""A model that was trained by itself, and how it was trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lab.errors import SpecError
from lab.report.number import number
from lab.spec.in_html import rows_html
from lab.spec.space import Params
from lab.spec.trial import Trial
from lab.study.epochs_shown import epochs_html
from lab.study.range_test import RangeTest

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure
    from torch import nn

    from lab.stages.predicts import Predicts
    from lab.tasks.task import Split, Task


@dataclass(frozen=True, repr=False, eq=False)
class Fitted:
    """A trained model, and how it was trained."""

    task: Task
    trial: Trial
    """Hyperparameters, seed, epochs and schedule."""
    metric: str
    score: float | None
    """The metric on the validation split after the last epoch; None where there was nothing to validate on."""
    curve: pd.DataFrame = field(repr=False)
    """A row for each epoch: training loss, validation loss and metrics, the lr of its last step, seconds."""
    model: nn.Module
    """Plain PyTorch, on the host and in evaluation. It takes what `task.model_input` makes of inputs."""
    range_test: RangeTest | None = None
    """What suggested `max_lr`, where it was left out."""

    @property
    def params(self) -> Params:
        return self.trial.params

    def predict(self, x: Any) -> Any:
        """Predictions for a pandas frame, a list of texts, of images or of paths, or for tensors, as those of
        `result.ensemble.predict`; errors as there. One model alone is not calibrated."""
        return self._predicts.predict(x)

    def predict_proba(self, x: Any) -> Any:
        """The probabilities [n, c] of the classes or labels, for what `predict` takes; see `result.ensemble`."""
        return self._predicts.predict_proba(x)

    def scores(self, split: Split = "valid") -> dict[str, float]:
        """The task's metrics on a split. Whoever chooses by those of `test` has no test split any more.

        Raises:
            SpecError: there is no such split.
        """
        if split not in ("train", "valid", "test"):
            raise SpecError("split", f"{split!r} is unknown; choices: train, valid, test")
        x, y = self.task.data(split)
        return self._predicts.scores(self._predicts.predict(x), y)

    def plot(self) -> Figure:
        """Losses, the metric and the learning rate over the epochs."""
        from lab.report.training_plot import training_figure

        return training_figure(self.curve, self.metric, self.trial.schedule)

    def __repr__(self) -> str:
        return "\n".join(f"{label:9} {text}" for label, text in self._lines())

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        named = self.curve.reset_index().to_dict("records")
        rows = [{str(name): value for name, value in row.items()} for row in named]
        return rows_html(dict(self._lines())) + epochs_html(rows)

    def _lines(self) -> list[tuple[str, str]]:
        trial, last = self.trial, self.curve.iloc[-1]
        by = "; max_lr by range tests" if self.range_test is not None else ""
        settings = ", ".join(f"{name} {number(value)}" for name, value in trial.params.items())
        losses = f"training loss {number(float(last['train_loss']))}"
        if "valid_loss" in last:
            losses += f", validation loss {number(float(last['valid_loss']))}"
        score = [] if self.score is None else [("score", f"validation {self.metric} {number(self.score)}")]
        return [
            *score,
            ("loss", losses),
            ("trained", f"{trial.epochs} epochs in {self.curve['seconds'].sum():.1f} s, seed {trial.seed}"),
            ("schedule", f"{trial.schedule.kind} {trial.schedule.picture(24)}"),
            *([("settings", settings + by)] if settings else []),
        ]

    @property
    def _predicts(self) -> Predicts:
        from lab.stages.one_net import OneNet

        return OneNet(self.task, self.model)
