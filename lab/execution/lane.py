"""A lane: a long-lived worker that keeps its slots full of trials. Knows the ledger's face only, and no cluster."""

from __future__ import annotations

import json
import time
import traceback
from typing import Any

import torch

from lab.assignment import Assignment, Job, LedgerFace, Outcome, Report
from lab.errors import LabError, RecordError
from lab.execution.template import template_params
from lab.tasks.checks import check_data
from lab.tasks.contract import TrialFunction
from lab.tasks.registry import load_task
from lab.training.snapshots import pack, unpack
from lab.training.trainer import EpochResult, FunctionTrainer, ModelTrainer, Trainer


def make_trainer(job: Job) -> Trainer:
    """The trainer that a job's task and path ask for."""
    torch.set_num_threads(job.training.threads)
    task = load_task(job.task)
    if isinstance(task, TrialFunction):
        return FunctionTrainer(task)
    for split in ("train", "valid"):
        check_data(task, split)
    return ModelTrainer(task, job.training, job.width, template_params(job.space))


class Lane:
    """Pulls assignments, trains them in step, reports after every epoch, checkpoints from time to time."""

    def __init__(self, number: int, job: Job, ledger: LedgerFace) -> None:
        self._number = number
        self._job = job
        self._ledger = ledger
        self._trainer = make_trainer(job)
        self._running: dict[int, tuple[Assignment, int]] = {}
        """By slot: the assignment and the epochs trained."""
        self._saved_at = time.monotonic()
        attachment = ledger.attach(number)
        self._tick = attachment.tick
        self._waiting = {a.trial: a for a in attachment.running}
        if attachment.checkpoint is not None:
            self._restore(attachment.checkpoint)

    def tick(self) -> bool:
        """One epoch of every slot; False when there is nothing left to do, here or ever."""
        done = self._fill()
        if self._running:
            self._train()
            self._tick += 1
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
        """Whether it has nothing to train just now (others may still hand something back)."""
        return not self._running and not self._waiting

    def save(self) -> None:
        """Hand the state of all slots to the ledger."""
        self._saved_at = time.monotonic()
        tensors: dict[str, torch.Tensor] = {}
        metas: dict[str, Any] = {}
        for slot, (_, epoch) in self._running.items():
            state = self._trainer.save(slot)
            if state is None:
                return
            tensors |= {f"{slot}/{name}": tensor for name, tensor in state[0].items()}
            metas[str(slot)] = state[1] | {"epoch": epoch}
        clock = torch.frombuffer(
            bytearray(json.dumps({"tick": self._tick, "slots": metas}).encode()), dtype=torch.uint8
        )
        self._ledger.checkpoint(self._number, pack(tensors | {"clock": clock}))

    def _restore(self, content: bytes) -> None:
        """Go on from a checkpoint, as far as it is readable and its trials still run."""
        try:
            tensors = unpack(content, f"checkpoint of lane {self._number}")
            clock = json.loads(bytes(tensors.pop("clock").numpy().tobytes()))
        except (RecordError, KeyError, ValueError):
            return  # from the beginning of its trials instead: slower, and the same result
        by_slot: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            slot, _, rest = name.partition("/")
            by_slot.setdefault(slot, {})[rest] = tensor
        saved = {int(meta["trial"]): (slot, meta) for slot, meta in clock["slots"].items()}
        if not any(a.tick < clock["tick"] and trial in saved for trial, a in self._waiting.items()):
            return
        if any(a.tick < clock["tick"] and trial not in saved for trial, a in self._waiting.items()):
            return  # an older stage of this lane: not all running trials are in it
        for trial, (slot, meta) in saved.items():
            assignment = self._waiting.pop(trial, None)
            if assignment is not None:
                self._trainer.restore(assignment, by_slot.get(slot, {}), meta)
                self._running[assignment.slot] = (assignment, int(meta["epoch"]))
        self._tick = int(clock["tick"])

    def _fill(self) -> bool:
        """Start what is due in the free slots; whether the ledger has nothing more."""
        for assignment in sorted(self._waiting.values(), key=lambda a: a.slot):
            if assignment.tick <= self._tick:
                del self._waiting[assignment.trial]
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
            self._trainer.start(assignment)
        except (Exception, SystemExit) as error:  # a user's code may raise anything, and even exit; the study goes on
            report = Report(assignment.trial, 0, {}, Outcome.FAILED, _trace(error))
            self._ledger.report(self._number, self._tick, (report,))
            return
        self._running[assignment.slot] = (assignment, 0)

    def _train(self) -> None:
        try:
            results = self._trainer.epoch()
        except torch.OutOfMemoryError as error:
            results = self._all_ended(Outcome.OUT_OF_MEMORY, str(error))
        except (Exception, SystemExit) as error:  # as above
            results = self._all_ended(Outcome.FAILED, _trace(error))
        reports = tuple(self._report(result) for result in results)
        decisions = self._ledger.report(self._number, self._tick, reports)
        slots = {assignment.trial: slot for slot, (assignment, _) in self._running.items()}
        for decision in decisions:
            if not decision.keep:
                slot = slots[decision.trial]
                self._trainer.stop(slot)
                del self._running[slot]
        if self._running and time.monotonic() - self._saved_at > self._job.checkpoint_s:
            self._tick += 1  # the state is that of the next epoch's start
            self.save()
            self._tick -= 1

    def _all_ended(self, outcome: Outcome, detail: str) -> tuple[EpochResult, ...]:
        return tuple(EpochResult(slot, {}, outcome, detail) for slot in sorted(self._running))

    def _report(self, result: EpochResult) -> Report:
        assignment, epoch = self._running[result.slot]
        self._running[result.slot] = (assignment, epoch + 1)
        return Report(
            assignment.trial,
            epoch + 1,
            result.metrics,
            result.outcome,
            result.detail,
            result.step_losses,
            result.files,
        )


def _trace(error: BaseException) -> str:
    if isinstance(error, LabError):
        return str(error)
    return "".join(traceback.format_exception(error)).strip()
