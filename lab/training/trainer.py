"""The one loop that trains everything: slots of a lane, an epoch at a time, each with its own schedule and noise.

Shapes: k slots, b examples of a batch, n examples of a split, s optimizer steps of an epoch, p parameters.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from lab.errors import RecordError, TaskError
from lab.range_test import smooth, stop_step
from lab.spec.batch_size import whole_batches
from lab.spec.exchange import Assignment
from lab.spec.init import INIT, LSUV
from lab.spec.plan import Training
from lab.spec.snapshot_file import snapshot_file
from lab.spec.trial import Outcome, Trial
from lab.tasks.build import build_model
from lab.tasks.task import Data, Split, Task, defines
from lab.tasks.transfer.adapter import own_tensors
from lab.training.averaged import AveragedWeights
from lab.training.batches import Examples, open_splits
from lab.training.device import check_precision, pick_device, to_device
from lab.training.evaluation import evaluate, evaluate_each
from lab.training.fault import Fault, fault_of
from lab.training.gradients import Gradients
from lab.training.interface import EpochResult, Trainer
from lab.training.lsuv import lsuv
from lab.training.models import SlotModels, build_models
from lab.training.optimizer import RowOptimizer, State, Step, build_optimizer, clip, step_all
from lab.training.parameter_groups import ParameterGroups, Segment, parameter_groups
from lab.training.snapshots import check_packable, pack

if TYPE_CHECKING:
    from lab.training.data_parallel.peers import Peers


@dataclass(frozen=True)
class _Own:
    """The row numbers of a trial that leaves a fold out."""

    trained_on: Tensor
    held_out: Tensor


@dataclass
class _Slot:
    """A running trial."""

    assignment: Assignment
    groups: ParameterGroups
    """Its own model's: where models are trained one after the other, they may be of any architecture."""
    optimizer: RowOptimizer
    """Without clipping where its rows are parts of the gradient: that is of all of them together."""
    max_grad_norm: float | None
    """The limit of a gradient that is clipped before the optimizer sees it."""
    states: tuple[State, ...]
    """One for each segment of the row."""
    curves: list[tuple[float, ...]]
    """At each step lr, momentum and weight decay."""
    factors: list[tuple[float, ...]]
    """At each step the lr of each parameter group as a multiple of the curve's; empty where there is one group."""
    snapshots: Mapping[int, str]
    """The file of the snapshot to be taken, by the step after which it is."""
    averaged: AveragedWeights | None
    """The moving average of its weights, where that is kept beside its one snapshot."""
    own: _Own | None
    """Where each trial has rows of its own; None: it trains on all that are there."""
    step: int = 0
    losses: list[float] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    """Snapshots that no result has handed out yet."""
    frozen: frozenset[str] = frozenset()
    """The parameters that are not trained at present."""

    @property
    def finished(self) -> bool:
        return self.step >= len(self.curves)

    def segments(self) -> Iterator[tuple[str, Segment, State]]:
        """The segments of the row with their states, and what a state's names begin with where it is saved."""
        single = len(self.states) == 1
        for i, (segment, state) in enumerate(zip(self.groups.segments, self.states, strict=True)):
            yield "optimizer/" if single else f"optimizer/{i}/", segment, state


class ModelTrainer(Trainer):
    """Trains a task's models: stacked or one after the other, by the same steps.

    Args:
        task: checked already, see `lab.tasks.checks.check_task`.
        training: with a resolved `path`.
        width: number of slots.
        template_params: of any trial; the architecture of its model is that of all.
        data: the splits, where they are open already.
        peers: the other processes of the lane, where each batch is divided among several; then `width` is 1 and the
            path `sequential`.

    Raises:
        NotStackable: the path is `stacked` and the model has no stacked form.
        TaskError: fewer examples than a batch, or a model that cannot be saved.
    """

    def __init__(
        self,
        task: Task,
        training: Training,
        width: int,
        template_params: Mapping[str, Any],
        data: Mapping[Split, Examples] | None = None,
        peers: Peers | None = None,
    ) -> None:
        self.width = width
        self._peers = peers
        self._task = task
        self._training = training
        self._device = pick_device(training.device) if peers is None else peers.device
        self._together = self._device.type != "cpu"  # a call a slot would be a launch a slot
        check_precision(training.precision, self._device)
        data = data or open_splits(task, self._device, training)
        self._train_data, self._valid_data = data["train"], data["valid"]
        self._batch = training.batch_size
        self._folds = training.folds
        # Slots stay in step, so all folds have the steps of the one that leaves least to train on.
        examples = len(self._train_data) if self._folds is None else self._folds.least_trained_on
        self._steps = steps_per_epoch(examples, training)
        self._validates = not training.record_losses and (self._folds is not None or not training.with_valid)
        self._examples = task.model_input(self._train_data.first(3))
        template = build_model(task, template_params, 0, self._examples)
        check_packable(template)
        parameter_groups(task, template)  # what does not fit is refused here
        self._sharers = peers if peers is not None and peers.sharded else None
        """Those among whom the model itself is divided."""
        self._models: SlotModels
        if self._sharers is None:
            template = template.to(self._device)
            self._models = build_models(training.path, template, width, self._examples, self._device)
        else:
            from lab.training.data_parallel.sharded import ShardedModels  # here: few want it

            self._models = ShardedModels(self._sharers, template)
        self._gradients = Gradients(task, self._models, training.micro_batch or self._batch, self._device)
        self._slots: dict[int, _Slot] = {}
        self._buffers = [name for name, _ in template.named_buffers()]

    def takes(self, module: nn.Module) -> bool:
        """Whether a model is of the architecture that is trained here."""
        return self._models.takes(module)

    def start(self, assignment: Assignment, module: nn.Module | None = None) -> None:
        """Begin a trial in its slot; `module` is its fresh model, where it has been built already."""
        module = module or build_model(self._task, assignment.trial.params, assignment.trial.seed, self._examples)
        if assignment.trial.params.get(INIT) == LSUV:
            lsuv(module, self._drawn(assignment.trial), seed=assignment.trial.seed)
        self._models.load(assignment.slot, module, assignment.trial.seed)
        groups = parameter_groups(self._task, module, self._models.sizes(assignment.slot))
        self._slots[assignment.slot] = self._new_slot(assignment, groups)

    def module(self, slot: int) -> nn.Module:
        """The net that is trained in a slot; see `SlotModels.module`."""
        return self._models.module(slot)

    def _drawn(self, trial: Trial) -> Tensor:
        """A batch of inputs [b, ...], ready for the model, on the host, of those that a trial trains on: alike on every
        path."""
        own = self._own(trial.fold)
        rows = torch.arange(len(self._train_data)) if own is None else own.trained_on
        chosen = np.random.default_rng(trial.seed).permutation(len(rows))[: self._batch]
        return self._task.model_input(self._train_data.some(rows[torch.from_numpy(chosen)])).cpu()

    def _new_slot(self, assignment: Assignment, groups: ParameterGroups) -> _Slot:
        trial = assignment.trial
        total = trial.epochs * self._steps
        curves = list(zip(*(curve.tolist() for curve in trial.schedule.curves(None, total)), strict=True))
        ends = sorted(set(trial.schedule.cycle_ends(total))) if trial.keep else []
        snapshots = {
            step: f"{self._training.weights}/{snapshot_file(assignment.number, index)}"
            for index, step in enumerate(ends)
        }
        optimizer = build_optimizer(self._training.optimizer, trial.params)
        row = self._models.row(assignment.slot)
        states = tuple(optimizer.state(row[s.start : s.stop]) for s in groups.segments)
        factors = trial.schedule.group_factors(groups.count, None, total).tolist() if groups.count > 1 else []
        most = None
        if factors or self._sharers is not None:
            optimizer, most = replace(optimizer, max_grad_norm=None), optimizer.max_grad_norm
        own = self._own(trial.fold)
        decay = self._training.ema_decay if len(snapshots) == 1 else None
        averaged = None if decay is None else AveragedWeights(decay, self._models.tensors(assignment.slot))
        return _Slot(assignment, groups, optimizer, most, states, curves, factors, snapshots, averaged, own)

    def _own(self, fold: int | None) -> _Own | None:
        if self._folds is None:
            return None
        assert fold is not None  # whoever plans for folds says which
        return _Own(*map(torch.from_numpy, (self._folds.trained_on(fold), self._folds.held_out(fold))))

    def stop(self, slot: int) -> None:
        del self._slots[slot]
        self._models.row(slot).zero_()  # what is no number there would be computed on, and refused, at every step

    def epoch(self) -> tuple[EpochResult, ...]:
        active = sorted(self._slots)
        if not active:
            return ()
        with nullcontext() if self._sharers is None else self._sharers.one_fate():
            return self._epoch(active)

    def _epoch(self, active: Sequence[int]) -> tuple[EpochResult, ...]:
        losses, faults = self._train(active) if self._peers is None else self._train_together(self._peers, *active)
        going = [slot for slot in active if slot not in faults]
        scores: dict[int, dict[str, float]] = {}
        if going and self._validates:
            scores, later = self._evaluate(going)
            faults |= later
        return tuple(self._result(slot, losses[slot], scores.get(slot, {}), faults.get(slot)) for slot in active)

    def _train(self, active: Sequence[int]) -> tuple[dict[int, list[float]], dict[int, Fault]]:
        """One epoch of every active slot: the training loss of each step, and the faults of those that end before."""
        models, task = self._models, self._task
        models.training = True
        order = torch.zeros(self.width, self._steps * self._batch, dtype=torch.int64)
        for slot in active:
            noise = models.noise[slot]
            assert noise is not None  # set by load
            own = self._slots[slot].own
            count = len(self._train_data) if own is None else len(own.trained_on)
            shuffled = noise.permutation(count)[: order.shape[1]]
            order[slot] = shuffled if own is None else own.trained_on[shuffled]
        losses = torch.zeros(self._steps, self.width, device=self._device)
        faults: dict[int, Fault] = {}
        trained = dict.fromkeys(active, self._steps)
        size, peers = self._batch, self._peers
        if peers is not None:
            order = peers.share(order, size)
            size //= peers.size
        for step, (x, y) in enumerate(self._train_data.batches(order, size)):
            self._freeze(active)
            x, y = self._augmented(task.model_input(x), y, active)
            if peers is not None:
                seed = self._slots[active[0]].assignment.trial.seed
                models.seed(active[0], peers.seed(seed, self._slots[active[0]].step))
            learned = self._gradients.of(partial(self._forward, active=active), x, y, active)
            for slot, (error, output) in learned.raised.items():
                faults[slot] = fault_of(error, output, f"at step {self._slots[slot].step}")
                trained[slot] = step
            if learned.raised:
                active = [slot for slot in active if slot not in learned.raised]
                if not active:
                    break
            if peers is not None:
                grad = models.grad(active[0])
                peers.average(grad[:0] if peers.sharded else grad, learned.losses)
            losses[step] = learned.losses
            self._update(active)
        rows = losses.tolist()  # [s][k]
        return {slot: [row[slot] for row in rows[:steps]] for slot, steps in trained.items()}, faults

    def _train_together(self, peers: Peers, slot: int) -> tuple[dict[int, list[float]], dict[int, Fault]]:
        """The same, of the one trial that all processes of the lane train."""
        if peers.sharded:
            trained = self._train([slot])
            if trained[1]:
                raise peers.parted(trained[1][slot])
        else:
            grad, losses = self._models.grad(slot), torch.zeros(self.width, device=self._device)
            trained = peers.together(lambda: self._train([slot]), self._steps, grad, losses)
        tensors = own_tensors(self._models.module(slot))
        peers.average_floats(tensors[name] for name in self._buffers if name in tensors)
        return trained

    def _forward(self, x: Tensor, active: Sequence[int]) -> Tensor:
        """Outputs [k, b, ...], in float32 whatever they were computed in: losses and metrics are."""
        if self._training.precision == "float32":
            return self._models.forward(x, active)
        with torch.autocast(self._device.type, torch.bfloat16):
            return self._models.forward(x, active).float()

    def _augmented(self, x: Tensor, y: Tensor, active: Sequence[int]) -> Data:
        """A step's batches x [k, b, ...] and y [k, b, ...], augmented by what each slot's own generator draws."""
        if not defines(self._task, "draw"):
            return x, y  # nothing to ask every slot at every step for
        drawn = {}
        for slot in active:
            noise = self._models.noise[slot]
            assert noise is not None  # set by load
            drawn[slot] = self._task.draw(self._batch, noise.generator, self._slots[slot].assignment.trial.params)
        rows = slice(None) if self._peers is None else self._peers.rows(self._batch)
        numbers = {slot: row[rows] for slot, row in drawn.items() if row is not None}
        if not numbers:
            return x, y
        draws = torch.zeros(self.width, *next(iter(numbers.values())).shape)
        for slot, row in numbers.items():
            draws[slot] = torch.from_numpy(row)
        plain = [slot for slot in active if slot not in numbers]
        kept = x[plain], y[plain]
        x, y = self._task.augment(x, y, to_device(draws, self._device))
        if plain:
            if y[plain].shape != kept[1].shape:
                raise TaskError(
                    f"{type(self._task).__name__}.draw: gave None for one trial and numbers for another, and augment "
                    "changes the shape of the targets; give numbers that change nothing instead"
                )
            x[plain], y[plain] = kept[0], kept[1].to(y.dtype)
        return x, y

    def _freeze(self, active: Sequence[int]) -> None:
        """Hold still, from this step on, what each slot's schedule freezes."""
        for slot in active:
            running = self._slots[slot]
            if not running.factors:
                continue
            frozen = running.groups.frozen(running.factors[running.step])
            if frozen != running.frozen:
                self._models.freeze(slot, frozen)
                running.frozen = frozen

    def _steps_of(self, slot: int) -> list[Step]:
        """What a slot's optimizer is asked for: one step, or one of each segment that trains."""
        running, grad = self._slots[slot], self._models.grad(slot)
        row, (lr, *others) = self._models.row(slot), running.curves[running.step]
        if running.max_grad_norm is not None:
            clip(grad, running.max_grad_norm, self._models.norm(grad))
        if not running.factors:
            return [Step(row, grad, running.states[0], lr, *others)]
        factors = running.factors[running.step]
        return [
            Step(row[s.start : s.stop], grad[s.start : s.stop], state, lr * factors[s.group], *others)
            for s, state in zip(running.groups.segments, running.states, strict=True)
            if factors[s.group] > 0
        ]

    def _update(self, active: Sequence[int]) -> None:
        """One optimizer step of every active slot."""
        models, optimizers, steps, kept = self._models, [], [], []
        for slot in active:
            running = self._slots[slot]
            i = running.step
            mine = self._steps_of(slot)
            if self._together:
                optimizers += [running.optimizer] * len(mine)
                steps += mine
            else:
                for step in mine:
                    running.optimizer.step(step)
            if i in running.snapshots or running.averaged:
                kept.append(running)
            running.step = i + 1
        if steps:
            step_all(optimizers, steps)
        for running in kept:
            self._keep(running, running.step - 1, models.tensors(running.assignment.slot))

    def _keep(self, running: _Slot, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Take the snapshot that is due after a step, and the step into the average, which is a snapshot at the end."""
        if self._peers is not None and self._peers.rank:
            return  # the first process hands them out
        if step in running.snapshots:
            running.files[running.snapshots[step]] = pack(tensors, {"step": str(step)})
        if running.averaged is None:
            return
        running.averaged.update(tensors, step)
        if running.finished:
            name = snapshot_file(running.assignment.number, len(running.snapshots))
            running.files[f"{self._training.weights}/{name}"] = pack(running.averaged.tensors, {"step": str(step)})

    def _evaluate(self, active: Sequence[int]) -> tuple[dict[int, dict[str, float]], dict[int, Fault]]:
        self._models.training = False
        forward = partial(self._forward, active=active)
        if self._folds is None:
            return evaluate(self._task, self._valid_data, self.width, forward, active, self._peers)
        held_out = {slot: own.held_out for slot in active if (own := self._slots[slot].own) is not None}
        most = max(self._folds.sizes)
        return evaluate_each(self._task, self._train_data, self.width, forward, held_out, most, self._peers)

    def _result(self, slot: int, losses: list[float], scores: dict[str, float], fault: Fault | None) -> EpochResult:
        running = self._slots[slot]
        if self._training.record_losses:
            running.losses += losses
        metrics = {**scores, "train_loss": sum(losses) / len(losses)} if losses else {}
        broken = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), None)
        outcome, detail = None, ""
        if broken is not None:
            first = running.step - len(losses)
            outcome, detail = Outcome.DIVERGED, f"training loss {losses[broken]} at step {first + broken}"
        elif fault is not None:
            outcome, detail = fault.outcome, fault.detail
        elif (
            self._training.stop_at is not None and stop_step(smooth(running.losses), self._training.stop_at) is not None
        ):
            outcome, detail = Outcome.DIVERGED, f"loss above {self._training.stop_at} times its best"
        elif math.isnan(scores.get("valid_loss", 0.0)):  # the last update broke the weights
            outcome, detail = Outcome.DIVERGED, f"validation loss nan after step {running.step - 1}"
        elif running.finished:
            outcome = Outcome.COMPLETED
        sound = outcome in (None, Outcome.COMPLETED)
        files, running.files = running.files if sound else {}, {}
        return EpochResult(slot, metrics, outcome, detail, () if outcome is None else tuple(running.losses), files)

    def save(self, slot: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        running = self._slots[slot]
        noise = self._models.noise[slot]
        assert noise is not None  # set by load
        tensors = {f"model/{name}": t for name, t in self._models.tensors(slot).items()}
        for prefix, segment, state in running.segments():
            for name, part in state.items():
                tensors[prefix + name] = self._models.whole(part, segment.names) if part.ndim else part
        if running.averaged is not None:
            tensors |= {f"averaged/{name}": tensor for name, tensor in running.averaged.tensors.items()}
        tensors |= {
            f"file/{name}": torch.frombuffer(bytearray(content), dtype=torch.uint8)
            for name, content in running.files.items()
        }
        random = self._models.random_state(slot)
        if random is not None:
            tensors["random"] = random
        meta = {
            "trial": running.assignment.number,
            "step": running.step,
            "losses": running.losses,
            "noise": noise.state(),
        }
        return tensors, json.loads(json.dumps(meta))

    def restore(self, assignment: Assignment, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        self.start(assignment)
        self.put(assignment.slot, tensors, meta)

    def put(self, slot: int, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        """Take a trial that has just been started to where `save` left it.

        Raises:
            RecordError: it is that of another model or optimizer.
        """
        running, models = self._slots[slot], self._models
        own = _state(self.save(slot)[0])
        saved = _state(tensors)
        if {name: t.shape for name, t in saved.items()} != {name: t.shape for name, t in own.items()}:
            raise RecordError(f"what trial {running.assignment.number} had saved is not of the model that it has now")
        models.put(slot, {n.removeprefix("model/"): t for n, t in saved.items() if n.startswith("model/")})
        for prefix, segment, state in running.segments():
            for name, part in state.items():
                whole = saved[prefix + name]
                part.copy_(models.share(whole, segment.names) if part.ndim else whole)
        if running.averaged is not None:
            for name, tensor in running.averaged.tensors.items():
                tensor.copy_(saved[f"averaged/{name}"])
        for name in tensors.keys() - saved.keys() - {"random"}:  # earlier versions held all snapshots back to the end
            running.files[name.removeprefix("file/")] = tensors[name].numpy().tobytes()
        if "random" in tensors:
            models.set_random_state(slot, tensors["random"])
        running.step = int(meta["step"])
        running.losses = list(meta["losses"])
        noise = models.noise[slot]
        assert noise is not None  # set by start
        noise.set_state(meta["noise"])


def _state(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the model, of the optimizer and of the average, out of those that `save` returns."""
    return {name: tensor for name, tensor in tensors.items() if name.startswith(("model/", "optimizer/", "averaged/"))}


def steps_per_epoch(examples: int, training: Training) -> int:
    """Optimizer steps of an epoch.

    Raises:
        TaskError: not even one batch.
    """
    steps = whole_batches(examples, training.batch_size)
    return min(steps, training.epoch_steps or steps)
