"""A lane: a long-lived worker that keeps its slots full of trials. Knows the ledger's face only, and no cluster."""

from __future__ import annotations

import contextlib
import gc
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from lab.errors import RecordError
from lab.lanes.output import OutputBudget
from lab.spec.batch_size import BATCH_SIZE
from lab.spec.exchange import Assignment, Attachment, LedgerFace, Report
from lab.spec.plan import Job
from lab.spec.points import template_params
from lab.spec.space import Params
from lab.spec.trial import Outcome
from lab.tasks.checks import check_data
from lab.tasks.load import load_task
from lab.tasks.task import TRAIN_AND_VALID, TrialFunction
from lab.training.accelerator import release_memory
from lab.training.costs import TooCostly
from lab.training.device import DeviceLost, check_device
from lab.training.failure import describe_error
from lab.training.freed_memory import keep_freed_memory
from lab.training.function import FunctionTrainer
from lab.training.grouped import GroupedTrainer
from lab.training.interface import EpochResult, Trainer
from lab.training.memory import out_of_memory
from lab.training.snapshots import pack, unpack

if TYPE_CHECKING:
    from lab.training.data_parallel.peers import Peers

_SAVE_EVERY = 10.0
"""Minimum gap between checkpoints, in multiples of the last save's duration.

Training then keeps nine tenths of the time on slow storage.
"""


def make_trainer(job: Job) -> Trainer:
    """Make the trainer that a job's task and path ask for."""
    if job.training.processes > 1:
        from lab.training.data_parallel.trainer import DataParallelTrainer  # here: few want it

        file = replace(job.task, opened=None, handed=None)
        before = partial(load_task, file) if job.task.instance is None else None
        return DataParallelTrainer(job.training.processes, partial(_trainer, job), before, job.training.sharded)
    return _trainer(job)


def _trainer(job: Job, peers: Peers | None = None) -> Trainer:
    torch.set_num_threads(job.training.threads)
    task = load_task(job.task)
    if isinstance(task, TrialFunction):
        return FunctionTrainer(task)
    if job.task.opened is None:
        for split in TRAIN_AND_VALID:
            check_data(task, split)
    stack, template = job.stack or job.width, template_of(job)
    trainer = GroupedTrainer(task, job.training, job.width, stack, template, peers, job.limits, job.counts_flops)
    keep_freed_memory()  # from here on: what reading the data took may go
    return trainer


def template_of(job: Job) -> Params:
    """The hyperparameters of a job's first model: the middle of its space."""
    return template_params(job.space, {BATCH_SIZE: job.training.batch_size})


class _TooWide(Exception):  # noqa: N818 - no error: the lane goes on with half its slots
    """The slots do not fit into memory."""


class Lane:
    """Pulls assignments, trains them in step, reports after every epoch, checkpoints from time to time."""

    def __init__(self, number: int, job: Job, ledger: LedgerFace) -> None:
        self._number = number
        self._job = job
        self._ledger = ledger
        self._output = OutputBudget()
        self._saved_at = time.monotonic()
        self._save_s = 0.0
        self._tick = 0
        self._enter(ledger.attach(number))

    def _enter(self, attachment: Attachment) -> None:
        """Begin where the ledger says, with as many slots as fit."""
        self._trainer, attachment = self._fitting(attachment)
        self._running: dict[int, tuple[Assignment, int]] = {}
        """The assignment and the epochs trained, by slot."""
        self._tick = max(self._tick, attachment.tick)
        self._waiting = {a.number: a for a in attachment.running}
        saved = read_checkpoint(attachment.checkpoint, self._number)
        if attachment.suspects:
            self._try_alone(attachment.suspects, saved)
        if saved is not None:
            self._restore(saved)

    def _fitting(self, attachment: Attachment) -> tuple[Trainer, Attachment]:
        while True:
            width = attachment.width or self._job.width
            try:
                with self._output.bounded():
                    return make_trainer(replace(self._job, width=width)), attachment
            except Exception as error:
                if width == 1 or not out_of_memory(error):
                    raise
            attachment = self._ledger.shrink(self._number)

    def _try_alone(self, suspects: Mapping[int, int], saved: Checkpoint | None) -> None:
        """Train each suspect by itself through the epoch at which this lane died, and forget what came of it.

        The one that kills the lane again is known by that; the others then go on together, as if nothing had been.
        """
        for trial, epoch in suspects.items():
            self._ledger.trying(self._number, trial)
            assignment = self._waiting[trial]
            # A user's code that raises here raises again when the trial runs, and is reported then.
            with contextlib.suppress(Exception, SystemExit), self._output.bounded():
                reached = self._load(assignment, saved)
                while reached < epoch and not self._trainer.epoch()[0].outcome:
                    reached += 1
            with contextlib.suppress(Exception, SystemExit):
                self._trainer.stop(assignment.slot)
            check_device()
        self._ledger.trying(self._number, None)

    def _load(self, assignment: Assignment, saved: Checkpoint | None) -> int:
        """Put a trial into its slot as it was last saved, or as it begins. Returns the epochs it has had."""
        for checkpoint in (saved, read_checkpoint(assignment.state, self._number)):
            if checkpoint is not None and assignment.number in checkpoint.slots:
                tensors, meta = checkpoint.slots[assignment.number]
                try:
                    self._trainer.restore(assignment, tensors, meta)
                except RecordError:  # the user's model has changed since
                    continue
                return int(meta["epoch"])
        self._trainer.start(assignment)
        return 0

    def tick(self) -> bool:
        """Train every slot for one epoch. Returns False when nothing is left to do, here or ever.

        Raises:
            DeviceLost: this process can train no more; its trials go on in another, as after its death.
        """
        done: bool | None
        try:
            done = self._fill()
            if self._running:
                self._train()
                self._tick += 1
                return True
        except _TooWide:
            done = None
        if done is None:  # out here, since an error at hand keeps alive all that was allocated on the way to it
            self._shrink()
            return True
        if self._waiting:  # replaying: the next of its trials starts later
            self._tick = min(a.tick for a in self._waiting.values())
            return True
        if not done:
            # The clock must pass the last proposal's tick before anything new is handed out.
            self._tick += 1
        return not done

    @property
    def idle(self) -> bool:
        """Whether the lane has nothing to train just now. Other lanes may still hand something back."""
        return not self._running and not self._waiting

    def save(self) -> None:
        """Hand the state of all slots to the ledger."""
        begin = time.monotonic()
        state = self._state()
        if state is not None:
            self._ledger.checkpoint(self._number, state)
        self._saved_at = time.monotonic()
        self._save_s = self._saved_at - begin

    def _state(self) -> bytes | None:
        """The state of all slots and the clock; None where trials can only be run again from their beginning."""
        tensors: dict[str, torch.Tensor] = {}
        metas: dict[str, Any] = {}
        for slot, (_, epoch) in self._running.items():
            state = self._trainer.save(slot)
            if state is None:
                return None
            tensors |= {f"{slot}/{name}": tensor for name, tensor in state[0].items()}
            metas[str(slot)] = state[1] | {"epoch": epoch}
        clock = torch.frombuffer(
            bytearray(json.dumps({"tick": self._tick, "slots": metas}).encode()), dtype=torch.uint8
        )
        return pack(tensors | {"clock": clock})

    def _restore(self, saved: Checkpoint) -> None:
        """Go on from a checkpoint, as far as its trials still run."""
        if not any(a.tick < saved.tick and trial in saved.slots for trial, a in self._waiting.items()):
            return
        if any(a.tick < saved.tick and trial not in saved.slots for trial, a in self._waiting.items()):
            return  # an older stage of this lane: not all running trials are in it
        back = [self._waiting[trial] for trial in saved.slots if trial in self._waiting]
        try:
            with self._output.bounded():
                for assignment in back:
                    self._trainer.restore(assignment, *saved.slots[assignment.number])
        except (Exception, SystemExit):
            # The user's model has changed, or cannot even be built: replayed from the beginning, that is reported.
            check_device()
            for assignment in back:
                with contextlib.suppress(KeyError):  # not come to
                    self._trainer.stop(assignment.slot)
            return
        for assignment in back:
            del self._waiting[assignment.number]
            self._running[assignment.slot] = (assignment, int(saved.slots[assignment.number][1]["epoch"]))
        self._tick = saved.tick

    def _fill(self) -> bool:
        """Start the trials that are due in the free slots. Returns whether the ledger has nothing more."""
        for assignment in sorted(self._waiting.values(), key=lambda a: a.slot):
            if assignment.tick <= self._tick:
                del self._waiting[assignment.number]
                self._start(assignment)
        free = tuple(slot for slot in range(self._trainer.width) if slot not in self._taken())
        if not free:
            return False
        work = self._ledger.next(self._number, self._tick, free)
        for assignment in work.assignments:
            self._start(assignment)
        return work.done

    def _taken(self) -> set[int]:
        return set(self._running) | {a.slot for a in self._waiting.values()}

    def _start(self, assignment: Assignment) -> None:
        try:
            with self._output.bounded():
                epochs = self._load(assignment, None)
        # A user's code may raise anything, and even exit; the study goes on.
        except DeviceLost:
            raise
        except TooCostly as over:
            report = Report(assignment.number, 0, {}, Outcome.INFEASIBLE, str(over), costs=over.costs)
            self._ledger.report(self._number, self._tick, (report,))
            return
        except (Exception, SystemExit) as error:
            report = Report(assignment.number, 0, {}, self._outcome(error), describe_error(error))
            self._ledger.report(self._number, self._tick, (report,))
            return
        self._running[assignment.slot] = (assignment, epochs)

    def _train(self) -> None:
        try:
            with self._output.bounded():
                results = self._trainer.epoch()
        except DeviceLost:
            raise
        except (Exception, SystemExit) as error:  # as above
            outcome, detail = self._outcome(error), describe_error(error)
            results = tuple(EpochResult(slot, {}, outcome, detail) for slot in sorted(self._running))
        decisions = self._ledger.report(self._number, self._tick, tuple(self._report(result) for result in results))
        del results  # and the snapshots in them, before the state of all slots asks for memory
        slots = {assignment.number: slot for slot, (assignment, _) in self._running.items()}
        for decision in decisions:
            if not decision.keep:
                slot = slots[decision.number]
                self._trainer.stop(slot)
                del self._running[slot]
        pause_s = max(self._job.checkpoint_s, _SAVE_EVERY * self._save_s)
        if self._running and time.monotonic() - self._saved_at > pause_s:
            self._tick += 1  # the state is that of the next epoch's start
            self.save()
            self._tick -= 1

    def _shrink(self) -> None:
        """Give the trials back and go on with half the slots."""
        del self._trainer  # before the next one asks for memory
        gc.collect()
        release_memory()
        self._enter(self._ledger.shrink(self._number))

    def _outcome(self, error: BaseException) -> Outcome:
        """Turn an error into the outcome of its trial.

        Raises:
            _TooWide: nothing yet; with fewer slots it may fit.
            DeviceLost: nothing yet; it may have been another's doing.
        """
        if not out_of_memory(error):
            check_device()
            return Outcome.FAILED
        if self._trainer.width > 1:
            raise _TooWide
        return Outcome.OUT_OF_MEMORY

    def _report(self, result: EpochResult) -> Report:
        assignment, epoch = self._running[result.slot]
        self._running[result.slot] = (assignment, epoch + 1)
        return Report(
            assignment.number,
            epoch + 1,
            result.metrics,
            result.outcome,
            result.detail,
            result.step_losses,
            result.files,
            self._trainer.costs(result.slot),
        )


@dataclass(frozen=True)
class Checkpoint:
    """A lane's saved state: its clock, and by trial the tensors and the rest of its slot."""

    tick: int
    slots: Mapping[int, tuple[Mapping[str, torch.Tensor], Mapping[str, Any]]]


def read_checkpoint(content: bytes | None, lane: int) -> Checkpoint | None:
    """A checkpoint as `Lane.save` packs it; None where there is none, or where it is damaged.

    Without it a lane replays its trials from their beginning: slower, and the same result.
    """
    if content is None:
        return None
    try:
        tensors = unpack(content, f"checkpoint of lane {lane}")
        clock = json.loads(bytes(tensors.pop("clock").numpy().tobytes()))
        by_slot: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            slot, _, rest = name.partition("/")
            by_slot.setdefault(slot, {})[rest] = tensor
        slots = {int(meta["trial"]): (by_slot.get(slot, {}), meta) for slot, meta in clock["slots"].items()}
        return Checkpoint(int(clock["tick"]), slots)
    except (RecordError, KeyError, ValueError, TypeError, AttributeError):
        return None
