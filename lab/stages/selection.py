"""From final models to one calibrated average, with every control at equal budget beside it.

Nothing is chosen after the test split has been read. What chooses are the validation rows; where there are folds, all
training and validation rows, each predicted by those who were trained without it.
Shapes: m members, n examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, groupby
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from lab.errors import StudyError
from lab.record.estimators import pack_estimator
from lab.record.folder import Record, write_bytes
from lab.spec.study import StudySpec
from lab.stages import final
from lab.stages.baselines import FittedBaseline, fit_baselines, scored
from lab.stages.column_importance import column_importances
from lab.stages.diagnose import diagnose
from lab.stages.diagnostics import Example
from lab.stages.ensemble import (
    BASELINE,
    ChosenEnsemble,
    Control,
    Ensembled,
    FailedBaseline,
    Member,
    baseline_file,
)
from lab.stages.examples import telling_examples
from lab.stages.final import AVERAGED, CYCLICAL, LONG, MODELS, MORE, NO_HERO, SHORTER, Run
from lab.stages.heat_maps import with_heat_maps
from lab.stages.predictor import as_plain, member_outputs
from lab.stages.statistics import mean_interval
from lab.tasks.balance_options import BALANCE
from lab.tasks.beside import Beside
from lab.tasks.checks import check_data
from lab.tasks.folds import folds_of, parts_of
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
    def fold(self) -> int | None:
        """The fold that it was trained without; None: it was trained on the training split."""

    @property
    def valid(self) -> Tensor:
        """Predictions for that fold, or for the validation split."""

    @property
    def test(self) -> Tensor: ...


@dataclass(frozen=True)
class Trained:
    """A snapshot with its predictions."""

    run: Run
    file: str
    valid: Tensor
    test: Tensor
    fold: int | None = None

    @property
    def role(self) -> str:
        return self.run.role_of(self.file)

    def member(self, weight: float) -> Member:
        return Member(self.file, self.run.params, weight, role=self.role)


@dataclass(frozen=True)
class Joining:
    """A model of another kind that may join, and that is kept in `final/` if it does, with its predictions."""

    name: str
    estimator: Any
    valid: Tensor
    test: Tensor
    fold: int | None = None

    @property
    def file(self) -> str:
        return baseline_file(self.name, self.fold)

    def member(self, weight: float) -> Member:
        return Member(self.file, {}, weight, role=BASELINE, name=self.name)


_Groups: TypeAlias = "list[Sequence[Trained | Joining]]"
"""Models that are averaged alike."""


def select(spec: StudySpec, record: Record, task: Task, runs: tuple[Run, ...]) -> Ensembled:
    """Choose among the snapshots of the runs, calibrate, and score on the test split.

    Raises:
        StudyError: no run left weights.
    """
    check_data(task, "test")
    parts = parts_of(task)
    valid, test = {fold: part.valid for fold, part in parts.items()}, task.data("test")
    trained = _predict(task, record, runs, valid, test)
    if not any(t.run.role in MODELS for t in trained):
        raise StudyError("ensemble: no final model left weights; look at final.json")
    beside = Beside()
    fitted = beside.made("baselines", lambda: fit_baselines(spec, task, trained[0].valid.shape[1:]), [])
    joining = [joins for one in fitted if (joins := _joining(one))]
    valid_y = {fold: y for fold, (_, y) in valid.items()}

    def among(others: Sequence[Sequence[Joining]]) -> Ensembled:
        return conclude(task, runs, trained, valid_y, test[1], beside, others, spec.seed)

    ensembled, kept = that_can_be_kept(among, joining)
    for file, content in kept.items():
        write_bytes(record.final_folder / file, content)
    judged: list[Trained | Joining] = [*trained, *chain.from_iterable(joining)]
    fold_of = {one.file: one.fold for one in judged}
    columns = beside.made(
        "what columns are worth",
        lambda: column_importances(task, record.final_folder, ensembled.chosen, fold_of, parts),
        None,
    )
    baselines = beside.made("baselines", lambda: tuple(scored(task, one) for one in fitted), ())
    members, before = ensembled.chosen.members, ensembled.examples
    examples = beside.made(
        "heat maps", lambda: with_heat_maps(task, record.final_folder, members, test[0], before), before
    )
    failed = (f"baseline {b.name}: left out ({b.failed})" for b in baselines if isinstance(b, FailedBaseline))
    lacks = (*beside.lacks, *failed)
    return replace(ensembled, baselines=baselines, lacks=lacks, column_importances=columns, examples=examples)


def that_can_be_kept(
    choose: Callable[[Sequence[Sequence[Joining]]], Ensembled], joining: Sequence[Sequence[Joining]]
) -> tuple[Ensembled, Mapping[str, bytes]]:
    """What is chosen, where those that join can be written down; with the content of their files.

    They are packed when they are chosen, and not before: to pack a forest takes longer than to fit it.
    """
    while True:
        ensembled = choose(joining)
        chosen = {member.file for member in ensembled.chosen.members}
        packed = {one.file: pack_estimator(one.estimator) for each in joining for one in each if one.file in chosen}
        lost = {file for file, content in packed.items() if content is None}
        if not lost:
            return ensembled, {file: content for file, content in packed.items() if content is not None}
        joining = [each for each in joining if lost.isdisjoint(one.file for one in each)]


def _joining(fitted: FittedBaseline | FailedBaseline) -> list[Joining]:
    """A baseline as a candidate; none where it may not join."""
    if isinstance(fitted, FailedBaseline) or not fitted.untrained.joins:
        return []
    return [Joining(fitted.untrained.name, p.estimator, p.valid, p.test, p.fold) for p in fitted.parts]


def conclude(
    task: Task,
    runs: Sequence[Run],
    trained: Sequence[Trained],
    valid_y: Mapping[int | None, Tensor],
    test_y: Tensor,
    beside: Beside,
    joining: Sequence[Sequence[Joining]] = (),
    seed: int = 0,
) -> Ensembled:
    """What is chosen among trained snapshots and the models that may join them, with its scores and controls.

    Only the averages themselves have to succeed: what else fails is told in `beside`, and done without.

    Args:
        valid_y: targets by the fold that is left out, or under None those of the validation split.
        seed: of the study.
    """
    pool = [t for t in trained if t.run.role in MODELS]
    judge = _Judge(task, valid_y, test_y, beside)
    groups, selection = judge.choose(_alike(pool), () if _evened(task, pool) else joining)
    weights = [weight / len(group) for group, weight in zip(groups, selection.weights, strict=True) for _ in group]
    ordered = [member for group in groups for member in group]
    chosen = [(member, weight) for member, weight in zip(ordered, weights, strict=True) if weight > 0]
    decided = judge.calibrated(judge.average(*zip(*chosen, strict=True)))
    none: dict[str, tuple[Example, ...]] = {}
    examples = beside.made(
        "examples", lambda: telling_examples(task, decided.mean.test, test_y, decided.thresholds), none
    )
    return Ensembled(
        metric=task.metric,
        kind=task.kind,
        test_examples=len(test_y),
        chosen=ChosenEnsemble(
            members=tuple(member.member(weight) for member, weight in chosen),
            temperature=decided.temperature,
            thresholds=as_plain(decided.thresholds),
            valid_loss=selection.loss,
            epochs=sum(run.epochs for run in runs if run.role in MODELS),
            test=judge.scores(decided),
            start_valid_loss=selection.start_loss,
            out_of_fold=None if None in valid_y else judge.out_of_fold(decided),
        ),
        controls=beside.made("controls", lambda: _controls(judge, trained), ()),
        direction=task.direction,
        examples=examples,
        diagnostics=diagnose(task, decided.mean.test, test_y, beside, decided.thresholds, seed),
    )


def _predict(
    task: Task, record: Record, runs: tuple[Run, ...], valid: Mapping[int | None, Data], test: Data
) -> list[Trained]:
    folds = folds_of(task)
    trained = []
    for run in runs:
        fold = final.fold_of(run.seed, folds)
        for name in run.files:
            path = record.final_folder / name
            on_valid, on_test = (member_outputs(task, path, run.params, x) for x in (valid[fold][0], test[0]))
            trained.append(Trained(run, name, on_valid, on_test, fold))
    return trained


def _evened(task: Task, pool: Sequence[Trained]) -> bool:
    """Whether nets were trained as if rare classes were commoner than they are: what could join them was not, so that
    the mean of both would be neither."""
    option = task.options.get(BALANCE) or 0
    return any(member.run.params.get(BALANCE, option) for member in pool)


def _alike(pool: list[Trained]) -> list[list[Trained]]:
    """Members that differ in their seeds and folds alone, the longest 1cycle runs first: a choice among seeds would not
    outlast them, since other seeds are trained for what is handed out."""
    groups: dict[tuple[str, int], list[Trained]] = {}
    for member in pool:
        groups.setdefault((member.run.role, member.run.files.index(member.file)), []).append(member)
    return sorted(groups.values(), key=lambda group: MODELS.index(group[0].run.role))


@dataclass(frozen=True)
class _Mean:
    """Mean predictions [n, ...] on the rows that judge them, whose targets stand beside, and on the test split."""

    valid: Tensor
    valid_y: Tensor
    test: Tensor


@dataclass(frozen=True)
class _Calibrated:
    """A calibrated mean, and what the rows that judge it have decided of it."""

    temperature: float
    thresholds: Tensor | None
    mean: _Mean


class _Judge:
    """Losses on the rows that a model was not trained on, scores on the test split.

    Args:
        valid_y: targets by the fold that is left out, or under None those of the validation split.
    """

    def __init__(self, task: Task, valid_y: Mapping[int | None, Tensor], test_y: Tensor, beside: Beside) -> None:
        self._task = task
        self._valid_y = valid_y
        self._test_y = test_y
        self._beside = beside

    def judges(self, pool: Sequence[_Predicts]) -> set[int | None]:
        """The folds whose rows judge the mean of a pool: those that one of it was trained without."""
        return {model.fold for model in pool}

    def loss(self, prediction: Tensor, valid_y: Tensor) -> Tensor:
        """On each example: negative log-likelihood once calibrated, or the task's own loss of values."""
        kind = self._task.kind
        if kind == "regression":
            return self._task.loss(prediction, valid_y)
        temperature = fit_temperature(prediction, valid_y, kind)
        return negative_log_likelihood(cooled(prediction, temperature, kind), valid_y)

    def of_better_length(self, groups: list[list[Trained]]) -> list[list[Trained]]:
        """The groups without the 1cycle runs of one length: of the longer, if the mean of the shorter surely has less
        loss.

        Two standard errors are asked for, and not one: nothing is added here, the planned runs are given up. By one,
        digits chose the shorter runs in two of six studies, and both lost on the test split."""
        by_role = {group[0].role: group for group in groups}
        if LONG not in by_role or SHORTER not in by_role:
            return groups
        both = self.judges(by_role[LONG]) & self.judges(by_role[SHORTER])
        means = [self.average(by_role[role], judges=both) for role in (LONG, SHORTER)] if both else []
        losses = [self.loss(mean.valid, mean.valid_y) for mean in means]
        worse = LONG if losses and surely_positive(losses[0] - losses[1], errors=2.0) else SHORTER
        return [group for group in groups if group[0].run.role != worse]

    def choose(
        self, groups: list[list[Trained]], joining: Sequence[Sequence[Joining]] = ()
    ) -> tuple[_Groups, Selection]:
        """The groups of the better length and what may join them, and a choice: from the plain mean of the first, as
        far as another surely helps; that alone, where losses cannot be had. All are judged by what judges the first."""
        alone: tuple[_Groups, Selection] = (
            [*groups],
            Selection((len(groups[0]), *[0] * (len(groups) - 1)), math.nan, math.nan),
        )
        return self._beside.made("choice", lambda: self._gated(groups, joining), alone)

    def _gated(self, groups: list[list[Trained]], joining: Sequence[Sequence[Joining]]) -> tuple[_Groups, Selection]:
        candidates: _Groups = [*self.of_better_length(groups), *joining]
        judges = self.judges(candidates[0])
        candidates = [group for group in candidates if self.judges(group) >= judges]
        means = [self.average(group, judges=judges) for group in candidates]
        loss = partial(self.loss, valid_y=means[0].valid_y)
        return candidates, gated(torch.stack([mean.valid for mean in means]), len(candidates[0]), loss)

    def average(
        self,
        pool: Sequence[_Predicts],
        weights: Sequence[float] | None = None,
        judges: Collection[int | None] | None = None,
    ) -> _Mean:
        """The mean of a pool; on the rows of each fold it is that of those who were trained without it."""
        w = weights or [1 / len(pool)] * len(pool)
        wanted = self.judges(pool) if judges is None else judges
        folds = [fold for fold in self._valid_y if fold in wanted]
        valid = torch.cat([_mean_of(fold, pool, w) for fold in folds])
        return _Mean(
            valid, torch.cat([self._valid_y[fold] for fold in folds]), weighted(torch.stack([t.test for t in pool]), w)
        )

    def calibrated(self, mean: _Mean) -> _Calibrated:
        """A mean with the temperature and thresholds that the rows which judge it ask for."""
        kind, made = self._task.kind, self._beside.made
        temperature = made("temperature", lambda: fit_temperature(mean.valid, mean.valid_y, kind), 1.0)
        valid, test = (cooled(p, temperature, kind) for p in (mean.valid, mean.test))
        thresholds = made("thresholds", lambda: thresholds_of(self._task, valid, mean.valid_y), None)
        return _Calibrated(temperature, thresholds, _Mean(valid, mean.valid_y, test))

    def scores(self, decided: _Calibrated) -> dict[str, float]:
        """On the test split."""
        return self._scores(decided.mean.test, self._test_y, decided.thresholds)

    def _scores(self, prediction: Tensor, y: Tensor, thresholds: Tensor | None) -> dict[str, float]:
        return scores(prediction, y, self._task.kind, self._task.metrics, thresholds, self._beside)

    def out_of_fold(self, decided: _Calibrated) -> dict[str, float]:
        """On the rows that judge it."""
        return self._scores(decided.mean.valid, decided.mean.valid_y, decided.thresholds)


def _mean_of(fold: int | None, pool: Sequence[_Predicts], weights: Sequence[float]) -> Tensor:
    """The weighted mean of those of a pool who were trained without a fold, on its rows."""
    mine = [(model.valid, weight) for model, weight in zip(pool, weights, strict=True) if model.fold == fold]
    total = 1.0 if len(mine) == len(pool) else sum(weight for _, weight in mine)
    return weighted(torch.stack([valid for valid, _ in mine]), [weight / total for _, weight in mine])


def _controls(judge: _Judge, trained: Sequence[Trained]) -> tuple[Control, ...]:
    """Every other way to spend a budget: that of one run, over seeds, and that of all that is handed out."""
    long, shorter, cyclical, more, unsearched = (
        [t for t in trained if t.role == role] for role in (LONG, SHORTER, CYCLICAL, MORE, NO_HERO)
    )
    averaged = [t for t in trained if t.role == AVERAGED and t.run.role == LONG]
    runs = _by_seed(cyclical)
    ways = [
        ("single 1cycle run", [[t] for t in long]),
        ("shorter single 1cycle run", [[t] for t in shorter]),
        ("average of a 1cycle run's weights", [[t] for t in averaged]),
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
