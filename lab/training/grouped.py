"""Trials of several groups in one lane: each group in stacked models of its own, which share the lane's slots.

Shapes: k rows of one stacked model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from lab.spec.batch_size import batch_size_of
from lab.spec.exchange import Assignment
from lab.spec.limits import Limit
from lab.spec.plan import Training
from lab.spec.trial import Outcome
from lab.tasks.build import build_model
from lab.tasks.task import Task
from lab.training.batches import open_splits
from lab.training.costs import CostCounter
from lab.training.device import DeviceLost, check_device, pick_device
from lab.training.failure import describe_error
from lab.training.interface import EpochResult, Trainer
from lab.training.memory import out_of_memory
from lab.training.trainer import ModelTrainer

if TYPE_CHECKING:
    from lab.training.data_parallel.peers import Peers


@dataclass(frozen=True)
class Group:
    """What trials must share to be trained as one stacked model.

    The kind of optimizer is not part of it: a stacked model gives all gradients, and each row has its own update.
    """

    batch_size: int
    architecture: int
    """Its number, in the order in which they came; one and the same on a path that takes any."""


class _Stack:
    """A stacked model with, by row, the assignment that it trains."""

    def __init__(self, trainer: ModelTrainer) -> None:
        self.trainer = trainer
        self.rows: list[Assignment | None] = [None] * trainer.width

    @property
    def taken(self) -> int:
        return len(self.rows) - self.rows.count(None)


class GroupedTrainer(Trainer):
    """Takes trials of any group into any slot, so that the sampler is free to propose what it likes.

    The last bits of a trial's numbers may depend on how many models are computed together (a convolution's do), so all
    stacks have one width; who else trains, and in which stack and row a trial lies, then changes none of them.

    Args:
        task: checked already, see `lab.tasks.checks.check_task`.
        training: with a resolved `path`; the batch size is that of trials without one of their own.
        width: number of slots.
        stack: how many of them are trained as one stacked model.
        template_params: of the group that is expected first.
        peers: see `ModelTrainer`.
        limits: what a model may cost.
        flops: whether they are counted.

    Raises:
        NotStackable, TaskError: see `ModelTrainer`.
    """

    def __init__(
        self,
        task: Task,
        training: Training,
        width: int,
        stack: int,
        template_params: Mapping[str, Any],
        peers: Peers | None = None,
        limits: Sequence[Limit] = (),
        flops: bool = False,
    ) -> None:
        self.width = width
        self._peers = peers
        self._task = task
        self._training = training
        # One after the other nothing is gained by being together: what a user's code raises ends its own trial alone,
        # and what one model's backward pass keeps is gone before the next one's forward.
        self._k = 1 if training.path == "sequential" else min(stack, width)
        device = pick_device(training.device) if peers is None else peers.device
        self._data = open_splits(task, device, training)
        self._examples = task.model_input(self._data["train"].first(3))
        self._counter = CostCounter(self._examples, limits, flops)
        self._costs: dict[int, Mapping[str, float]] = {}
        """By slot."""
        self._stacks: dict[Group, list[_Stack]] = {}
        self._architectures = 0
        self._row_of: dict[int, tuple[_Stack, int]] = {}
        """By slot: its stack and row."""
        self._add(self._group(template_params, self._build(template_params, 0)), template_params)

    def start(self, assignment: Assignment) -> None:
        """Begin a trial in its slot.

        Raises:
            TooCostly: its model breaks a limit, and was put nowhere.
        """
        if assignment.slot in self._row_of:  # of a trial that could not be restored
            self.stop(assignment.slot)
        module = self._build(assignment.trial.params, assignment.trial.seed)
        self._costs[assignment.slot] = self._counter.of(module)
        group = self._group(assignment.trial.params, module)
        stacks = self._stacks.get(group, [])
        stack = next((s for s in stacks if None in s.rows), None) or self._add(group, assignment.trial.params)
        row = stack.rows.index(None)
        stack.trainer.start(replace(assignment, slot=row), module)
        stack.rows[row] = assignment
        self._row_of[assignment.slot] = (stack, row)

    def module(self, slot: int) -> nn.Module:
        """The net that is trained in a slot; see `SlotModels.module`."""
        stack, row = self._row_of[slot]
        return stack.trainer.module(row)

    def stop(self, slot: int) -> None:
        stack, row = self._row_of.pop(slot)
        stack.trainer.stop(row)
        stack.rows[row] = None

    def epoch(self) -> tuple[EpochResult, ...]:
        if self._peers is not None and not self._row_of:
            raise DeviceLost("a process of this lane could not begin the trial that the others train")
        results: list[EpochResult] = []
        for group in list(self._stacks):
            self._gather(group)
            for stack in [s for s in self._stacks[group] if s.taken]:
                results += self._trained(group, stack)
        return tuple(sorted(results, key=lambda result: result.slot))

    def costs(self, slot: int) -> Mapping[str, float]:
        return self._costs.get(slot, {})

    def save(self, slot: int) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        stack, row = self._row_of[slot]
        return stack.trainer.save(row)

    def restore(self, assignment: Assignment, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        self.start(assignment)
        stack, row = self._row_of[assignment.slot]
        stack.trainer.put(row, tensors, meta)

    def _build(self, params: Mapping[str, Any], seed: int) -> nn.Module:
        return build_model(self._task, params, seed, self._examples)

    def _group(self, params: Mapping[str, Any], module: nn.Module) -> Group:
        """The group of a trial, whose model is at hand."""
        alike = (group for group, (first, *_) in self._stacks.items() if first.trainer.takes(module))
        number = next((group.architecture for group in alike), self._architectures)
        return Group(batch_size_of(self._training.batch_size, params), number)

    def _add(self, group: Group, params: Mapping[str, Any]) -> _Stack:
        """One more stacked model for a group."""
        if sum(map(len, self._stacks.values())) * self._k >= 2 * self.width:
            self._let_go()
        stack: _Stack | None = None
        try:
            stack = self._made(group, params)
        except Exception as error:
            if not out_of_memory(error):
                raise
        if stack is None:  # once more in the room of idle ones; out here, since the error keeps alive what it met
            self._let_go()
            stack = self._made(group, params)
        self._stacks.setdefault(group, []).append(stack)
        self._architectures = max(self._architectures, group.architecture + 1)
        return stack

    def _made(self, group: Group, params: Mapping[str, Any]) -> _Stack:
        training = replace(self._training, batch_size=group.batch_size)
        return _Stack(ModelTrainer(self._task, training, self._k, params, self._data, self._peers))

    def _let_go(self) -> None:
        """Free the memory of stacks that train nothing; until it is needed they wait for their group to come back."""
        used = {group: [s for s in stacks if s.taken] for group, stacks in self._stacks.items()}
        self._stacks = {group: stacks for group, stacks in used.items() if stacks}

    def _gather(self, group: Group) -> None:
        """Move trials together where a stack less holds them all: an empty row costs as much as a full one."""
        fullest = sorted(self._stacks[group], key=lambda s: -s.taken)
        needed = -(-sum(s.taken for s in fullest) // self._k)
        for stack in fullest[needed:]:
            for row, assignment in enumerate(stack.rows):
                if assignment is not None:
                    self._move(assignment, stack, row, next(s for s in fullest[:needed] if None in s.rows))

    def _move(self, assignment: Assignment, source: _Stack, row: int, target: _Stack) -> None:
        to = target.rows.index(None)
        tensors, meta = source.trainer.save(row)
        target.trainer.restore(replace(assignment, slot=to), tensors, meta)
        source.trainer.stop(row)
        source.rows[row], target.rows[to] = None, assignment
        self._row_of[assignment.slot] = (target, to)

    def _trained(self, group: Group, stack: _Stack) -> list[EpochResult]:
        """An epoch of one stack; what a user's code raises in it ends its trials and no others."""
        slots = [assignment.slot if assignment else None for assignment in stack.rows]
        try:
            results = {slots[result.slot]: result for result in stack.trainer.epoch()}
        except DeviceLost:
            raise
        except (Exception, SystemExit) as error:  # it may raise anything, and even exit
            if out_of_memory(error):
                raise
            check_device()
            self._stacks[group].remove(stack)  # its gradients may be left half done
            if not self._stacks[group]:
                del self._stacks[group]
            detail = describe_error(error)
            return [EpochResult(slot, {}, Outcome.FAILED, detail) for slot in slots if slot is not None]
        return [replace(result, slot=slot) for slot, result in results.items() if slot is not None]
