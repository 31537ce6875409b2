"""From final models to one calibrated ensemble, with every control at equal budget beside it.

The only place that reads the test split; nothing is chosen after it has been read.
Shapes: m members, n examples.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lab.errors import StudyError
from lab.record.folder import Record
from lab.spec.study import StudySpec
from lab.spec.trial import derive_seed
from lab.stages.ensemble import Baseline, ChosenEnsemble, Control, Ensembled, Example, FailedBaseline, Member
from lab.stages.final import CYCLICAL, LONG, SHORT, Run
from lab.stages.predictor import member_outputs
from lab.stages.statistics import mean_interval
from lab.tasks.checks import check_data
from lab.tasks.task import Data, Task
from lab.training.ensemble import Selection, fit_temperature, greedy, negative_log_likelihood, scores, weighted
from lab.training.ensemble import with_temperature as cooled
from lab.training.examples import uncertainty, wrongness
from lab.training.thresholds import thresholds_of

_SHOWN = 12
"""Examples of each sort that are kept for the report."""


@dataclass(frozen=True)
class _Trained:
    """A snapshot with its predictions, each calibrated on the validation split."""

    run: Run
    file: str
    temperature: float
    valid: Tensor
    test: Tensor


def select(spec: StudySpec, record: Record, task: Task, runs: tuple[Run, ...]) -> Ensembled:
    """Select among the snapshots of the runs, calibrate, and score on the test split.

    Raises:
        StudyError: no run left weights.
    """
    check_data(task, "test")
    valid, test = task.data("valid"), task.data("test")
    trained = _predict(task, record, runs, valid, test)
    if not trained:
        raise StudyError("ensemble: no final model left weights; look at final.json")
    judge = _Judge(task, valid[1], test[1])
    controls = _controls(judge, trained, spec.final.epochs)
    chosen, selection = judge.greedily(trained)
    members = tuple(
        Member(t.file, t.run.params, w, t.temperature, t.run.role)
        for t, w in zip(trained, selection.weights, strict=True)
        if w > 0
    )
    temperature, result = judge.score(chosen)
    thresholds = thresholds_of(task, cooled(chosen[0], temperature, task.kind), valid[1])
    return Ensembled(
        metric=task.metric,
        kind=task.kind,
        test_examples=len(test[0]),
        chosen=ChosenEnsemble(
            members=members,
            temperature=temperature,
            single=len(members) == 1,
            valid_loss=selection.loss,
            single_valid_loss=selection.single_loss,
            epochs=sum(run.epochs for run in runs),
            test=result,
            thresholds=() if thresholds is None else tuple(thresholds.tolist()),
        ),
        controls=controls,
        direction=task.direction,
        baselines=_baselines(spec, task, test[1]),
        examples=_examples(task, temperature, chosen[1], test[1], thresholds),
    )


def _predict(task: Task, record: Record, runs: tuple[Run, ...], valid: Data, test: Data) -> list[_Trained]:
    found = []
    for run in runs:
        for name in run.snapshots:
            path = record.final_folder / name
            on_valid, on_test = (member_outputs(task, path, run.params, x) for x in (valid[0], test[0]))
            temperature = fit_temperature(on_valid, valid[1], task.kind)
            on_valid, on_test = (cooled(p, temperature, task.kind) for p in (on_valid, on_test))
            found.append(_Trained(run, name, temperature, on_valid, on_test))
    return found


class _Judge:
    """Losses on the validation split, scores on the test split."""

    def __init__(self, task: Task, valid_y: Tensor, test_y: Tensor) -> None:
        self._task = task
        self._valid_y = valid_y
        self._test_y = test_y

    def loss(self, prediction: Tensor) -> float:
        """On the validation split: negative log-likelihood, or the task's own mean loss of plain values."""
        if self._task.kind != "regression":
            return negative_log_likelihood(prediction, self._valid_y)
        return float(self._task.loss(prediction, self._valid_y).mean())

    def greedily(self, pool: list[_Trained]) -> tuple[tuple[Tensor, Tensor], Selection]:
        selection = greedy(torch.stack([t.valid for t in pool]), self.loss)
        return self.average(pool, selection.weights), selection

    @staticmethod
    def average(pool: list[_Trained], weights: tuple[float, ...] | None = None) -> tuple[Tensor, Tensor]:
        """Mean predictions on validation and test."""
        w = weights or (1 / len(pool),) * len(pool)
        return weighted(torch.stack([t.valid for t in pool]), w), weighted(torch.stack([t.test for t in pool]), w)

    def score(self, prediction: tuple[Tensor, Tensor]) -> tuple[float, dict[str, float]]:
        """The temperature that the validation split asks for, and the test scores with it."""
        on_valid, on_test = prediction
        temperature = fit_temperature(on_valid, self._valid_y, self._task.kind)
        on_valid, on_test = (cooled(p, temperature, self._task.kind) for p in (on_valid, on_test))
        thresholds = thresholds_of(self._task, on_valid, self._valid_y)
        return temperature, scores(on_test, self._test_y, self._task.kind, self._task.metrics, thresholds)


def _controls(judge: _Judge, trained: list[_Trained], epochs: int) -> tuple[Control, ...]:
    """Every way to spend one run's budget, on each seed; test scores as mean and spread over seeds."""
    per_seed: dict[str, list[dict[str, float]]] = {}
    for seed in sorted({t.run.seed for t in trained}):
        mine = [t for t in trained if t.run.seed == seed]
        long, cyclical, short = ([t for t in mine if t.run.role == role] for role in (LONG, CYCLICAL, SHORT))
        ways: dict[str, tuple[Tensor, Tensor]] = {}
        if long:
            ways["single 1cycle run"] = judge.average(long[-1:])
        if cyclical:
            ways["last snapshot"] = judge.average(cyclical[-1:])
            ways["all snapshots"] = judge.average(cyclical)
            ways["greedy snapshots"] = judge.greedily(cyclical)[0]
        if short:
            ways["independent short runs"] = judge.average(short)
        for name, prediction in ways.items():
            per_seed.setdefault(name, []).append(judge.score(prediction)[1])
    rows = [_control(name, results, epochs) for name, results in per_seed.items()]
    long_runs = [t for t in trained if t.run.role == LONG]
    if len(long_runs) > 1:
        together = judge.score(judge.average(long_runs))[1]
        rows.append(_control(f"{len(long_runs)} independent 1cycle runs", [together], epochs * len(long_runs)))
    return tuple(rows)


def _baselines(spec: StudySpec, task: Task, test_y: Tensor) -> tuple[Baseline | FailedBaseline, ...]:
    """Test scores of the task's models of other kinds, each trained on the training split alone.

    One that cannot be trained is left out with its reason: the study's own models are all there by then.
    """
    found: list[Baseline | FailedBaseline] = []
    valid_y = task.data("valid")[1]
    for baseline in task.baselines(derive_seed(spec.seed, "baselines")):
        begin = time.monotonic()
        try:
            predict = baseline.fit()
            seconds = time.monotonic() - begin
            thresholds = thresholds_of(task, partial(predict, "valid"), valid_y)
            result = scores(predict("test"), test_y, task.kind, task.metrics, thresholds)
        except Exception as error:  # of another library, on data that it may not have been made for
            found.append(FailedBaseline(baseline.name, " ".join(f"{type(error).__name__}: {error}".split())))
            continue
        found.append(Baseline(baseline.name, result, seconds))
    return tuple(found)


def _examples(
    task: Task, temperature: float, on_test: Tensor, target: Tensor, thresholds: Tensor | None
) -> dict[str, tuple[Example, ...]]:
    """The test examples that the chosen ensemble is most wrong and least sure about."""
    prediction = cooled(on_test, temperature, task.kind)
    ranked = {"most wrong": wrongness(prediction, target, task.kind)}
    unsure = uncertainty(prediction, task.kind)
    if unsure is not None:
        ranked["most uncertain"] = unsure
    return {
        name: tuple(
            Example(
                index=index,
                said=_said(task, prediction[index], None, thresholds),
                true=_said(task, prediction[index], target[index]),
                shown=dict(task.show("test", index)),
            )
            for index in values.argsort(descending=True, stable=True)[:_SHOWN].tolist()
        )
        for name, values in ranked.items()
    }


def _said(task: Task, prediction: Tensor, target: Tensor | None, thresholds: Tensor | None = None) -> str:
    """A prediction, or with a target the target, in words."""
    names = task.class_names
    if task.kind == "classification":
        number = int(prediction.argmax() if target is None else target)
        name = names[number] if names else str(number)
        return f"{name} ({float(prediction[number]):.0%})"
    if task.kind == "multilabel":
        least = 0.5 if thresholds is None else thresholds
        chosen = torch.nonzero(prediction > least if target is None else target > 0.5)[:, 0].tolist()
        return ", ".join(names[i] if names else str(i) for i in chosen) or "none"
    values = (prediction if target is None else target).reshape(-1).tolist()
    return ", ".join(f"{value:.4g}" for value in values)


def _control(name: str, results: list[dict[str, float]], epochs: int) -> Control:
    return Control(name, epochs, {metric: mean_interval([r[metric] for r in results], metric) for metric in results[0]})
