"""From final models to one calibrated average, with every control at equal budget beside it.

Nothing is chosen after the test split has been read.
Shapes: m members, n examples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from lab.errors import StudyError
from lab.record.estimators import pack_estimator
from lab.record.folder import Record, write_bytes
from lab.spec.study import StudySpec
from lab.stages.baselines import FittedBaseline, fit_baselines, scored
from lab.stages.ensemble import (
    BASELINE,
    ChosenEnsemble,
    Control,
    Ensembled,
    Example,
    FailedBaseline,
    Member,
    baseline_file,
)
from lab.stages.examples import telling_examples
from lab.stages.final import CYCLICAL, LONG, MODELS, MORE, NO_HERO, SHORTER, Run
from lab.stages.predictor import member_outputs
from lab.stages.statistics import mean_interval
from lab.tasks.beside import Beside
from lab.tasks.checks import check_data
from lab.tasks.task import Data, Task
from lab.training.ensemble import (
    Selection,
    fit_temperature,
    gated,
    negative_log_likelihood,
    scores,
    surely_positive,
    weighted,
)
from lab.training.ensemble import with_temperature as cooled
from lab.training.thresholds import thresholds_of


class _Predicts(Protocol):
    """A model's predictions [n, ...]."""

    @property
    def valid(self) -> Tensor: ...
    @property
    def test(self) -> Tensor: ...


@dataclass(frozen=True)
class Trained:
    """A snapshot with its predictions."""

    run: Run
    file: str
    valid: Tensor
    test: Tensor

    def member(self, weight: float) -> Member:
        return Member(self.file, self.run.params, weight, role=self.run.role)


@dataclass(frozen=True)
class Joining:
    """A model of another kind that may join, and that is kept in `final/` if it does, with its predictions."""

    name: str
    valid: Tensor
    test: Tensor
    kept: bytes

    def member(self, weight: float) -> Member:
        return Member(baseline_file(self.name), {}, weight, role=BASELINE, name=self.name)


_Groups: TypeAlias = "list[Sequence[Trained | Joining]]"
"""Models that are averaged alike."""


def select(spec: StudySpec, record: Record, task: Task, runs: tuple[Run, ...]) -> Ensembled:
    """Choose among the snapshots of the runs, calibrate, and score on the test split.

    Raises:
        StudyError: no run left weights.
    """
    check_data(task, "test")
    valid, test = task.data("valid"), task.data("test")
    trained = _predict(task, record, runs, valid, test)
    if not any(t.run.role in MODELS for t in trained):
        raise StudyError("ensemble: no final model left weights; look at final.json")
    beside = Beside()
    fitted = beside.made("baselines", lambda: fit_baselines(spec, task, trained[0].valid.shape[1:]), [])
    joining = [joins for one in fitted if (joins := _joining(one))]
    ensembled = conclude(task, runs, trained, valid[1], test[1], beside, joining)
    chosen = {member.name: member.file for member in ensembled.chosen.members}
    for joins in joining:
        if joins.name in chosen:
            write_bytes(record.final_folder / chosen[joins.name], joins.kept)
    baselines = beside.made("baselines", lambda: tuple(scored(task, one) for one in fitted), ())
    failed = (f"baseline {b.name}: left out ({b.failed})" for b in baselines if isinstance(b, FailedBaseline))
    return replace(ensembled, baselines=baselines, lacks=(*beside.lacks, *failed))


def _joining(fitted: FittedBaseline | FailedBaseline) -> Joining | None:
    """A baseline as a candidate; None where it may not join, or cannot be kept."""
    if isinstance(fitted, FailedBaseline) or not fitted.untrained.joins:
        return None
    kept = pack_estimator(fitted.estimator)
    return None if kept is None else Joining(fitted.untrained.name, fitted.valid, fitted.test, kept)


def conclude(
    task: Task,
    runs: Sequence[Run],
    trained: Sequence[Trained],
    valid_y: Tensor,
    test_y: Tensor,
    beside: Beside,
    joining: Sequence[Joining] = (),
) -> Ensembled:
    """What is chosen among trained snapshots and the models that may join them, with its scores and controls.

    Only the averages themselves have to succeed: what else fails is told in `beside`, and done without.
    """
    pool = [t for t in trained if t.run.role in MODELS]
    judge = _Judge(task, valid_y, test_y, beside)
    groups, selection = judge.choose(_alike(pool), joining)
    weights = [weight / len(group) for group, weight in zip(groups, selection.weights, strict=True) for _ in group]
    ordered = [member for group in groups for member in group]
    members = tuple(t.member(weight) for t, weight in zip(ordered, weights, strict=True) if weight > 0)
    decided = judge.calibrated(judge.average(ordered, weights))
    none: dict[str, tuple[Example, ...]] = {}
    examples = beside.made("examples", lambda: telling_examples(task, decided.test, test_y, decided.thresholds), none)
    return Ensembled(
        metric=task.metric,
        kind=task.kind,
        test_examples=len(test_y),
        chosen=ChosenEnsemble(
            members=members,
            temperature=decided.temperature,
            thresholds=() if decided.thresholds is None else tuple(decided.thresholds.tolist()),
            valid_loss=selection.loss,
            epochs=sum(run.epochs for run in runs if run.role in MODELS),
            test=judge.scores(decided),
            start_valid_loss=selection.start_loss,
        ),
        controls=beside.made("controls", lambda: _controls(judge, trained), ()),
        direction=task.direction,
        examples=examples,
    )


def _predict(task: Task, record: Record, runs: tuple[Run, ...], valid: Data, test: Data) -> list[Trained]:
    return [
        Trained(
            run, name, *(member_outputs(task, record.final_folder / name, run.params, x) for x in (valid[0], test[0]))
        )
        for run in runs
        for name in run.snapshots
    ]


def _alike(pool: list[Trained]) -> list[list[Trained]]:
    """Members that differ in their seeds alone, the longest 1cycle runs first: a choice among seeds would not outlast
    them, since other seeds are trained for what is handed out."""
    groups: dict[tuple[str, int], list[Trained]] = {}
    for member in pool:
        groups.setdefault((member.run.role, member.run.snapshots.index(member.file)), []).append(member)
    return sorted(groups.values(), key=lambda group: MODELS.index(group[0].run.role))


@dataclass(frozen=True)
class _Calibrated:
    """A prediction on the test split [n, ...], and what the validation split has decided of it."""

    temperature: float
    thresholds: Tensor | None
    test: Tensor


class _Judge:
    """Losses on the validation split, scores on the test split."""

    def __init__(self, task: Task, valid_y: Tensor, test_y: Tensor, beside: Beside) -> None:
        self._task = task
        self._valid_y = valid_y
        self._test_y = test_y
        self._beside = beside

    def loss(self, prediction: Tensor) -> Tensor:
        """On each validation example: negative log-likelihood once calibrated, or the task's own loss of values."""
        kind = self._task.kind
        if kind == "regression":
            return self._task.loss(prediction, self._valid_y)
        temperature = fit_temperature(prediction, self._valid_y, kind)
        return negative_log_likelihood(cooled(prediction, temperature, kind), self._valid_y)

    def of_better_length(self, groups: list[list[Trained]]) -> list[list[Trained]]:
        """The groups without the 1cycle runs of one length: of the longer, if the mean of the shorter surely has less
        loss."""
        by_role = {group[0].run.role: group for group in groups}
        if LONG not in by_role or SHORTER not in by_role:
            return groups
        gain = self.loss(self.average(by_role[LONG])[0]) - self.loss(self.average(by_role[SHORTER])[0])
        worse = LONG if surely_positive(gain) else SHORTER
        return [group for group in groups if group[0].run.role != worse]

    def choose(self, groups: list[list[Trained]], joining: Sequence[Joining] = ()) -> tuple[_Groups, Selection]:
        """The groups of the better length and what may join them, and a choice: from the plain mean of the first, as
        far as another surely helps; that alone, where losses cannot be had."""
        alone: tuple[_Groups, Selection] = (
            [*groups],
            Selection((len(groups[0]), *[0] * (len(groups) - 1)), math.nan, math.nan),
        )
        return self._beside.made("choice", lambda: self._gated(groups, joining), alone)

    def _gated(self, groups: list[list[Trained]], joining: Sequence[Joining]) -> tuple[_Groups, Selection]:
        candidates: _Groups = [*self.of_better_length(groups)]
        candidates += [[one] for one in joining]
        means = [self.average(group)[0] for group in candidates]
        return candidates, gated(torch.stack(means), len(candidates[0]), self.loss)

    @staticmethod
    def average(pool: Sequence[_Predicts], weights: Sequence[float] | None = None) -> tuple[Tensor, Tensor]:
        """Mean predictions on validation and test."""
        w = weights or [1 / len(pool)] * len(pool)
        return weighted(torch.stack([t.valid for t in pool]), w), weighted(torch.stack([t.test for t in pool]), w)

    def calibrated(self, prediction: tuple[Tensor, Tensor]) -> _Calibrated:
        """A prediction on the test split with the temperature and thresholds that the validation split asks for."""
        (on_valid, on_test), kind, made = prediction, self._task.kind, self._beside.made
        temperature = made("temperature", lambda: fit_temperature(on_valid, self._valid_y, kind), 1.0)
        cool = cooled(on_valid, temperature, kind)
        thresholds = made("thresholds", lambda: thresholds_of(self._task, cool, self._valid_y), None)
        return _Calibrated(temperature, thresholds, cooled(on_test, temperature, kind))

    def scores(self, decided: _Calibrated) -> dict[str, float]:
        """On the test split."""
        kind, metrics = self._task.kind, self._task.metrics
        return scores(decided.test, self._test_y, kind, metrics, decided.thresholds, self._beside)


def _controls(judge: _Judge, trained: Sequence[Trained]) -> tuple[Control, ...]:
    """Every other way to spend a budget: that of one run, over seeds, and that of all that is handed out."""
    long, shorter, cyclical, more, unsearched = (
        [t for t in trained if t.run.role == role] for role in (LONG, SHORTER, CYCLICAL, MORE, NO_HERO)
    )
    runs = _by_seed(cyclical)
    ways = [
        ("single 1cycle run", [[t] for t in long]),
        ("shorter single 1cycle run", [[t] for t in shorter]),
        ("last snapshot of a run", [snapshots[-1:] for snapshots in runs]),
        ("all snapshots of a run", runs),
        ("single run without a search", [[t] for t in unsearched]),
    ]
    if len(long) > 1:
        ways.append((f"mean of {len(long)} 1cycle runs", [long]))
    if more:
        ways.append((f"mean of {len(long + more)} 1cycle runs", [long + more]))
    if len(unsearched) > 1:
        ways.append((f"mean of {len(unsearched)} runs without a search", [unsearched]))
    rows = []
    for name, groups in ways:
        results = [judge.scores(judge.calibrated(judge.average(members))) for members in groups]
        if results:
            test = {metric: mean_interval([r[metric] for r in results], metric) for metric in results[0]}
            runs_of = {t.run.trial: t.run.epochs for t in groups[0]}
            rows.append(Control(name, sum(runs_of.values()), test))
    return tuple(rows)


def _by_seed(trained: Sequence[Trained]) -> list[list[Trained]]:
    """The snapshots of each run."""
    return [list(group) for _, group in groupby(trained, key=lambda t: t.run.seed)]
