"""A study's search by a loop of the user's own: it asks for trials, trains them wherever it likes, and tells of them.

The ledger is opened for each call and let go of after it, so that a loop that is interrupted holds up nobody, and a
notebook's cell may be run again. What a process asked for that has ended since is handed out again to the next who
asks; what a living one has is left to it, so that several may share a study.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lab.errors import SpecError, StudyError
from lab.record.folder import Record
from lab.record.ledger import Ledger
from lab.record.trials import read_trials, why_ended
from lab.schedules import Schedule
from lab.spec.exchange import Assignment, Report
from lab.spec.plan import Job
from lab.spec.space import Params
from lab.spec.study import StudySpec
from lab.spec.trial import Outcome, Trial
from lab.stages import explore
from lab.stages.explore import Explored

WAIT_S = 30.0
"""For another process of the loop, whose proposal may take seconds; a study that runs holds its folder for longer."""
_PIDS = 2**22
"""Process ids are below, on Linux and macOS."""
_TICK = 0
"""A loop has no clock; all that it does happens at once."""
_OUTCOMES = (Outcome.COMPLETED, Outcome.DIVERGED, Outcome.FAILED, Outcome.OUT_OF_MEMORY, Outcome.PRUNED)


@dataclass(frozen=True)
class Asked:
    """A trial to be trained."""

    number: int
    trial: Trial

    @property
    def params(self) -> Params:
        return self.trial.params

    @property
    def seed(self) -> int:
        """To be trained from; a study of the same seed gives the same."""
        return self.trial.seed

    @property
    def epochs(self) -> int:
        return self.trial.epochs

    @property
    def schedule(self) -> Schedule:
        """The curve of lr, momentum and weight decay; `schedule.to_torch(optimizer, total)` drives an optimizer."""
        return self.trial.schedule


@dataclass(frozen=True)
class _OneLane:
    lanes: int = 1


class OwnLoop:
    """Asks and tells, one call at a time; several threads may share it."""

    def __init__(self, spec: StudySpec, record: Record) -> None:
        self._spec, self._record = spec, record
        self._mutex = threading.RLock()
        self._asked: set[int] = set()

    def ask(self) -> Asked | None:
        """The next trial; None where the search has no more."""
        if explore.STAGE.is_complete(self._record):
            return None
        with self._opened() as (ledger, job):
            mine = _lane_of(os.getpid())
            lost = [one for one in ledger.attach(mine).running if one.number not in self._asked]
            if lost:
                return self._hand_out(lost[0])
            for lane in ledger.lanes():
                if _may_live(lane):  # else what it has is taken over
                    ledger.heard(lane)
            work = ledger.next(mine, _TICK, (0,))
            if work.assignments:
                return self._hand_out(work.assignments[0])
            progress = ledger.progress()
            if progress.abort:
                raise StudyError(f"{job.stage}: {progress.abort}")
            most = self._spec.search.concurrency
            if work.done or not isinstance(most, int) or progress.closed + progress.running >= progress.planned:
                return None
            said = f"{progress.running} trials are open, and search.concurrency is {most}"
            raise StudyError(f"ask: {said}; tell of one first")

    def _hand_out(self, assignment: Assignment) -> Asked:
        self._asked.add(assignment.number)
        return Asked(assignment.number, assignment.trial)

    def report(self, asked: Asked | int, epoch: int, score: float) -> bool:
        """Note a score after an epoch; False where the pruner ends the trial, which needs no `tell` then."""
        number = _number(asked)
        score = _as_number("report.score", score)
        with self._opened() as (ledger, job):
            lane, last = self._open_trial(ledger, number)
            if isinstance(epoch, bool) or not isinstance(epoch, int) or not 1 <= epoch <= last:
                raise SpecError("report.epoch", f"{epoch!r} is not a whole number from 1 to {last}")
            if not math.isfinite(score):
                self._end(ledger, lane, Report(number, epoch, {}, Outcome.DIVERGED, f"{job.metric} is {score}"))
                return False
            (decision,) = ledger.report(lane, _TICK - 1, (Report(number, epoch, {job.metric: score}),))
            if not decision.keep:
                self._asked.discard(number)
            return decision.keep

    def tell(
        self,
        asked: Asked | int,
        score: float | None,
        metrics: Mapping[str, float] | None,
        outcome: str | None,
        detail: str,
    ) -> None:
        """Note how a trial ended."""
        number = _number(asked)
        score = None if score is None else _as_number("tell.score", score)
        ended = _outcome(score, outcome)
        if score is not None and ended not in (Outcome.COMPLETED, Outcome.PRUNED, Outcome.DIVERGED):
            raise SpecError("tell.score", f"{score} is told beside the outcome '{ended}', which has none")
        measured = {str(name): _as_number(f"tell.metrics.{name}", value) for name, value in (metrics or {}).items()}
        with self._opened() as (ledger, job):
            lane, epochs = self._open_trial(ledger, number)
            if score is not None:
                measured[job.metric] = score
            if ended is Outcome.COMPLETED:
                self._need_constrained(measured)
            why = detail or (f"{job.metric} is {score}" if ended is Outcome.DIVERGED and score is not None else "")
            self._end(ledger, lane, Report(number, epochs, measured, ended, why))

    def _need_constrained(self, measured: Mapping[str, float]) -> None:
        for limit in self._spec.search.limits:
            if limit.name not in measured:
                raise SpecError(f"tell.metrics.{limit.name}", "is missing, and search.constraints asks for it")

    def _end(self, ledger: Ledger, lane: int, report: Report) -> None:
        ledger.report(lane, _TICK - 1, (report,))
        self._asked.discard(report.number)

    @staticmethod
    def _open_trial(ledger: Ledger, number: int) -> tuple[int, int]:
        """The lane and the epochs of a trial, whichever process has asked for it."""
        there = {
            one.number: (lane, one.trial.epochs)
            for lane in sorted(ledger.lanes())
            if lane < 0
            for one in ledger.attach(lane).running
        }
        if number not in there:
            are = ", ".join(map(str, sorted(there))) or "none"
            raise SpecError("trial", f"{number} is not one that was asked for and not told of yet; open are: {are}")
        return there[number]

    @contextmanager
    def _opened(self) -> Iterator[tuple[Ledger, Job]]:
        with self._mutex, self._record.driver_lock(WAIT_S):
            _refuse_ended(self._record)
            job = explore.job_of(self._spec, self._record, _OneLane())
            ledger = Ledger(job)
            try:
                yield ledger, job
            finally:
                ledger.release()


def conclude(spec: StudySpec, record: Record) -> Explored:
    """What a search came to that ends here; trials that nobody was told of are left out.

    Raises:
        StudyError: no trial completed.
    """
    job = explore.job_of(spec, record, _OneLane())
    rows = [row for row in read_trials(record, job.stage, spec.store) if row.outcome is not None]
    if not rows:
        raise StudyError("conclude: the study was told of no trial yet")
    ended = why_ended(record, job.stage, spec.store)
    if ended is None and len(rows) < spec.search.trials:
        ended = f"the loop told of {len(rows)} of {spec.search.trials} trials"
    return explore.concluded(spec, record, job, rows, ended)


def _lane_of(process: int) -> int:
    """The number under which a process of this machine has trials: no lane's, so that lanes take over what it has."""
    return -(zlib.crc32(socket.gethostname().encode()) * _PIDS + process % _PIDS) - 1


def _may_live(lane: int) -> bool:
    """Whether the process behind a number may still train what it asked for; one of another machine may."""
    host, process = divmod(-lane - 1, _PIDS)
    if lane >= 0 or host != zlib.crc32(socket.gethostname().encode()):
        return lane < 0
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _refuse_ended(record: Record) -> None:
    if explore.STAGE.is_complete(record):
        raise StudyError("the search is complete; extend the study by more trials to go on with it")


def _number(asked: Asked | int) -> int:
    number = asked.number if isinstance(asked, Asked) else asked
    if isinstance(number, bool) or not isinstance(number, int):
        raise SpecError("trial", f"{asked!r} is neither what `ask` gave nor its number")
    return number


def _outcome(score: float | None, outcome: str | None) -> Outcome:
    """What a score says of how its trial ended, or what was said."""
    if outcome is None:
        if score is None:
            raise SpecError("tell.score", "is missing; where there is none, say how it ended: outcome='failed'")
        return Outcome.COMPLETED if math.isfinite(score) else Outcome.DIVERGED
    if outcome not in _OUTCOMES:
        raise SpecError("tell.outcome", f"{outcome!r} is unknown; choices: {', '.join(_OUTCOMES)}")
    if outcome == Outcome.COMPLETED and score is None:
        raise SpecError("tell.score", "is missing, and the trial is said to have completed")
    return Outcome(outcome)


def _as_number(path: str, value: Any) -> float:
    """A number, also one of numpy or a tensor of one element; NaN is one."""
    if hasattr(value, "__float__") and not isinstance(value, bool):
        with contextlib.suppress(TypeError, ValueError, RuntimeError):  # a tensor of several, say
            return float(value)
    raise SpecError(path, f"{value!r} is not a number")
