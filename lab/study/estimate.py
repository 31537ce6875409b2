"""What a study will cost, told before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from lab.errors import TaskError
from lab.spec.batch_size import BATCH_SIZE, batch_sizes, whole_batches
from lab.spec.points import template_params
from lab.spec.study import StudySpec
from lab.stages.stage import Trainings
from lab.study import undecided
from lab.study.budget import divided
from lab.study.check import check_beside, check_values, unread_doubts
from lab.study.cost import trainings
from lab.study.data import check_folds, check_ranks
from lab.study.limits import check_measured
from lab.study.objective import settled
from lab.study.pace import pace_of
from lab.study.size import shown
from lab.tasks.builtin import BUILTIN
from lab.tasks.description import Description
from lab.tasks.load import check_written, describe, load_task


@dataclass(frozen=True)
class StageCost:
    """What a stage trains, if no trial ends early."""

    trainings: int
    epochs: int
    """Epochs of all trainings together."""


@dataclass(frozen=True)
class Checked:
    """A spec as it would run, and what that would cost."""

    spec: Mapping[str, Any]
    """As resolved; `lab study schema` has its schema."""
    stages: Mapping[str, StageCost]
    """Those that train."""
    facts: Sequence[str]
    """What is known of the data."""
    warnings: Sequence[str]
    trainings: int
    epochs: int
    steps: int | None
    """Optimizer steps; null where nobody knows how many examples there are."""
    seconds: float | None
    """On one lane of this machine; null where it was not probed, or is not known."""


@dataclass(frozen=True)
class Estimate:
    """What the data look like, and what a study of them will cost."""

    lines: tuple[str, ...]
    """All of it, for people."""
    facts: tuple[str, ...]
    """What is known of the data."""
    warnings: tuple[str, ...]
    stages: Mapping[str, Trainings]
    """Those that train."""
    trainings: int
    epochs: int
    steps: int | None
    """Optimizer steps; None where nobody knows how many examples there are."""
    seconds: float | None
    """On one lane of this machine; None where it was not probed, or is not known."""

    def checked(self, spec: Mapping[str, Any]) -> Checked:
        """Its numbers beside the resolved spec."""
        stages = {name: StageCost(of.trainings, of.epochs) for name, of in self.stages.items()}
        names = ("facts", "warnings", "trainings", "epochs", "steps", "seconds")
        return Checked(spec, stages, **{name: getattr(self, name) for name in names})


def estimate(spec: StudySpec, probe: bool) -> Estimate:
    """What the data look like, trainings by stage, optimizer steps, and, probed, seconds.

    Raises:
        TaskError: the task cannot be trained on, or probing has shown that it breaks its contract.
    """
    if not probe:  # which runs it, and says more
        check_written(spec.task)
    description = describe(spec.task) if spec.task.kind in BUILTIN or not probe else _described(spec)
    examples = description.train_examples
    # A user's file may hold a trial function, which nobody has read yet, and whose parameters may be called anything.
    sizes = batch_sizes(spec.batch_size, spec.space if spec.task.kind in BUILTIN else {})
    steps_each = None if examples is None else fmean(whole_batches(examples, size) for size in sizes)
    check_values(spec.space, spec.task)
    check_beside(spec, description.kind)
    if description.metrics:
        check_measured(spec, description.metrics)
    if description.folds is not None:
        check_folds(spec, description.folds)
    lines = [f"data     {fact}" for fact in description.facts]
    warnings = list(description.warnings)
    lines += [f"warning  {doubt}" for doubt in description.warnings]
    if spec.budget is not None:
        if probe or (spec.budget.limit_epochs is not None and spec.task.kind in BUILTIN):
            spec = divided(spec)
            assert spec.budget is not None  # still
            lines += [f"budget   {decision}" for decision in spec.budget.decisions]
        else:
            lines.append("budget   is divided when the study begins; --probe divides it now")
    by_stage = trainings(spec, steps_each)
    lines += [f"space    {line}" for line in undecided.lines(spec, load=probe)]
    if spec.search.objective == "auto":
        lines.append("search   trials are ranked by the metric, or by the loss where few validation rows tell")
    lines += [f"{stage:8} {n:5} trainings, {epochs:6} epochs" for stage, (n, epochs, *_) in by_stage.items() if n]
    total = sum(of_stage.trainings for of_stage in by_stage.values())
    epochs = sum(of_stage.epochs for of_stage in by_stage.values())
    steps = None
    if len(sizes) > 1:
        lines.append(
            f"groups   by batch_size {', '.join(map(str, sizes))}: each is trained in stacked models of its own"
        )
    if steps_each is not None:
        steps = round(epochs * steps_each) + sum(of_stage.steps for of_stage in by_stage.values())
    lines.append(f"in all   {total:5} trainings, {epochs:6} epochs" + (f", {steps} optimizer steps" if steps else ""))

    def estimated(seconds: float | None) -> Estimate:
        trained = {name: of for name, of in by_stage.items() if of.trainings}
        facts = description.facts
        return Estimate(tuple(lines), facts, tuple(warnings), trained, total, epochs, steps, seconds)

    if probe:
        spec = spec.model_copy(
            update={"task": replace(spec.task, opened=load_task(spec.task))}
        )  # its data are read once
        settled(spec)  # refuses what is no matter of a task's options
    if probe or spec.task.kind in BUILTIN:  # a task of the user's own has to be looked at for it
        doubts = unread_doubts(spec)
        warnings += doubts
        lines += [f"warning  {doubt}" for doubt in doubts]
    if not probe:
        lines.append("time: not measured; --probe measures it on this machine")
        return estimated(None)
    lines += _of_model(spec, sum(of_stage.snapshots for of_stage in by_stage.values()))
    timed, seconds = _probed(spec)
    lines += timed
    return estimated(seconds)


def _of_model(spec: StudySpec, snapshots: int) -> list[str]:
    """The numbers that are trained, where these are not all, and the space that weights will take, by a model from the
    middle of the space."""
    from lab.tasks.build import build_model
    from lab.tasks.task import Task
    from lab.training.costs import parameters_of
    from lab.training.snapshots import size_in_bytes

    task = load_task(spec.task)
    if not isinstance(task, Task):
        return []
    check_ranks(spec, task)
    examples = task.model_input(task.data("train")[0][:3])
    model = build_model(task, template_params(spec.space, {BATCH_SIZE: spec.batch_size}), 0, examples)
    size, lines = size_in_bytes(model), []
    numbers = parameters_of(model)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if trained < numbers:
        lines.append(f"model    {trained:,} of {numbers:,} parameters are trained, {trained / numbers:.2%}")
    what = f"up to {snapshots} snapshots of {shown(size)} each"
    return [
        *lines,
        f"disk     about {shown(snapshots * size)}: {what}, until lab study prune deletes what was not chosen",
    ]


def _described(spec: StudySpec) -> Description:
    """What a task of the user's own says of its data; they are read for it."""
    from lab.tasks.task import TrialFunction

    task = load_task(spec.task)
    return Description() if isinstance(task, TrialFunction) else task.describe()


def _probed(spec: StudySpec) -> tuple[list[str], float | None]:
    """Lines on how long it takes, and the seconds."""
    pace = pace_of(spec)
    result, seconds = pace.fastest, pace.seconds
    if seconds is None:
        return [f"path {result.path}: {result.reason}; its time is not known before it runs"], None
    if not seconds > 0:
        raise TaskError("the probe measured no time")
    timed = ", ".join(f"{name} {ms:.3f}" for name, ms in result.timed.items())
    stacks = f" in stacks of {result.stack}" if result.stack < result.width else ""
    threads = f" on {result.threads} threads" if result.threads > 1 else ""
    alike = ", if a step takes as long at every batch size" if BATCH_SIZE in result.groups else ""
    lines = [
        f"path {result.path}, width {result.width}{stacks}: {result.reason}",
        f"milliseconds per trial and step: {timed}",
        f"about {seconds:.0f} s on one lane of this machine{threads}, without Ray's start" + alike,
    ]
    return lines, seconds
