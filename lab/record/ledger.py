"""The ledger: the only writer of trials. It owns sampler, pruner and storage; lanes ask it for work and report.

State is the storage and nothing else, so a ledger built anew on the same storage goes on where the last one was
killed. To make that exact, each lane keeps a clock of *ticks* (epochs since its stage began) and every assignment
notes the slot and the tick at which it starts: a lane that comes back replays its running trials at their ticks,
and nothing new is proposed before the tick at which the last proposal was made.
"""

from __future__ import annotations

import math
import shlex
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import cast

import optuna
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from lab.errors import LabError
from lab.record.blame import Blame
from lab.record.checkpoints import Checkpoints
from lab.record.counts import Counts
from lab.record.folder import Record
from lab.record.journal import QueueStorage
from lab.record.seen import SeenStorage
from lab.record.snapshots import Snapshots
from lab.record.takeover import Takeover
from lab.record.trial_schema import Seat, StoredTrial
from lab.record.trial_storage import open_to_write
from lab.record.trial_writer import TrialWriter
from lab.record.trials import readable
from lab.record.turns import Turns
from lab.record.widths import Widths
from lab.search.by_name import SamplerSource, build_pruner, free_proposals, sampler_source
from lab.search.ending import Ending
from lab.search.observed import as_trials
from lab.spec.distributions import conditions, distributions, suggest
from lab.spec.exchange import Assignment, Attachment, Decision, Progress, Report, Work
from lab.spec.limits import broken
from lab.spec.plan import Job, SearchPlan, study_name
from lab.spec.space import Params
from lab.spec.trial import Outcome, Trial, derive_seed

_WAIT_S = 20.0


class Ledger:
    """One stage's trials: asked for, reported on, closed. Not thread-safe by itself; calls are serialised here.

    Args:
        job: the stage's.
        syncs: whether each call waits for the disk. If not, `sync` has to be called before it is acknowledged.
    """

    def __init__(self, job: Job, syncs: bool = True) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._job = job
        search = job.plan if isinstance(job.plan, SearchPlan) else SearchPlan({"kind": "random"}, {}, 0, 0)
        space = distributions(job.space)
        self._observed = as_trials(search.observed, space)
        self._samplers: SamplerSource = sampler_source(
            search.sampler, job.seed, space, self._observed, conditions(job.space), search.costs
        )
        self._ending: Ending | None = None
        self._pruner = build_pruner(search.pruner, search.epochs, job.seed)
        self._broken = ""
        self._mutex = threading.RLock()
        self._exit = ExitStack()
        self._blame = Blame()
        self._attached: set[int] = set()
        self._widths = Widths(job.folder)
        self._sites: dict[int, str] = {}
        """Node and kind of device of each lane."""
        self._slots: dict[int, int] = {}
        """Width of each lane."""
        self._takeover = Takeover()
        self._checkpoints = Checkpoints(job.folder, job.stage)
        self._snapshots = Snapshots(job)
        self._repeated = 0
        self._opened = self._exit.enter_context(open_to_write(job.folder, job.stage, job.store, _WAIT_S, syncs))
        self._syncs = syncs
        self._storage = self._opened.storage
        try:
            with readable(Record(job.folder).journal_path):
                self._open_study()
            self.sync()
        except BaseException:
            self._exit.close()
            raise

    def _open_study(self) -> None:
        job = self._job
        with self._transaction():
            self._study = self._stage()
            trials = [StoredTrial(trial) for trial in self._study.get_trials(deepcopy=False)]
            if _of_another_plan(trials, job.plan):  # an earlier version began the stage
                self._checkpoints.clear()
                optuna.delete_study(study_name=self._study.study_name, storage=self._storage)
                self._study, trials = self._stage(), []
            self._turns = self._order(trials)
            self._seen = self._study if self._turns is None else self._as_seen(self._turns)
            """The study as the next proposal sees it."""
            if isinstance(job.plan, SearchPlan):
                space = distributions(job.space)
                when = conditions(job.space)
                self._ending = Ending(job.plan.until, self._seen, space, job.seed, self._observed, when)
            self._counts = Counts(job.direction, trials)
            self._trials = TrialWriter(self._study, self._storage, self._counts, self._turns)
            if isinstance(self._storage, QueueStorage):
                self._storage.any_waits = lambda: self._counts.waiting > 0
            if not isinstance(job.plan, SearchPlan):
                # A database's last writer may have died between ending a preempted trial and entering it anew.
                have = {trial.plan_index for trial in trials if not trial.was_preempted}
                for index, planned in enumerate(job.plan):
                    if index not in have:
                        self._trials.enqueue(planned, index)
            for trial in trials:
                if trial.state != TrialState.RUNNING:
                    continue
                seat = trial.seat
                if seat is None:  # the database's last writer died between asking for it and handing it out
                    self._preempt(trial, "was never handed out")
                elif not 0 <= seat.lane < job.lanes:
                    self._takeover.lose(seat.lane, math.inf)
            if isinstance(job.plan, SearchPlan) and job.plan.enqueued:
                self._enqueue(job.plan)
            self._snapshots.sweep(trials)

    def _enqueue(self, plan: SearchPlan) -> None:
        """Enter those settings to be tried first that are not there yet, as far as there are trials for them."""
        trials = [StoredTrial(trial) for trial in self._study.get_trials(deepcopy=False)]
        # One whose driver died before it was handed out is entered anew.
        have = {trial.enqueued_as for trial in trials if trial.is_planned or not trial.state.is_finished()}
        for index, setting in enumerate(plan.enqueued):
            if index not in have and self._counts.counted < plan.trials:
                self._trials.enqueue_setting(setting, index)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._opened.transaction():
            yield
        if self._syncs:
            self.sync()

    def _stage(self) -> optuna.Study:
        """The stage's trials in the storage."""
        return optuna.create_study(
            storage=self._storage,
            study_name=study_name(self._job.store, self._job.stage),
            sampler=self._samplers(0),
            pruner=self._pruner,
            direction=self._job.direction,
            load_if_exists=True,
        )

    def _order(self, trials: Sequence[StoredTrial]) -> Turns | None:
        """The order of proposals; None where they see whatever has finished."""
        plan = self._job.plan
        if not isinstance(plan, SearchPlan) or plan.concurrency is None:
            return None
        free = free_proposals(self._samplers(0), plan.trials) if plan.until.reads_no_score else 0
        turns = Turns(plan.concurrency, free)
        for trial in trials:
            turns.observe(trial)
        return turns

    def _as_seen(self, turns: Turns) -> optuna.Study:
        storage = cast(BaseStorage, SeenStorage(self._study._storage, turns))
        return optuna.Study(self._study.study_name, storage, pruner=self._pruner)

    def release(self) -> None:
        """Give the folder's lock back; the ledger must not be used afterwards."""
        self._exit.close()

    def sync(self) -> None:
        """Wait until what earlier calls have changed is on the disk. Threads that call it meanwhile wait together.

        Raises:
            RecordError: it cannot be written.
        """
        with self._mutex:
            forgotten = self._snapshots.take_forgotten()
        self._opened.sync()
        self._snapshots.delete(forgotten)

    # -- what lanes call ----------------------------------------------------------------------------------------

    def attach(self, lane: int, died: str = "", site: str = "") -> Attachment:
        """The state from which `lane` has to begin: its checkpoint, and the running trials that are its own.

        Args:
            died: the death of the process that had this lane before, where its trials may be to blame.
            site: the node and the kind of device that it is on; what fits into memory is remembered for that.
        """
        with self._mutex, self._transaction():
            self._takeover.begin(lane)
            suspects = self._after_death(lane, died) if died and lane in self._attached else {}
            self._attached.add(lane)
            self._sites[lane] = site
            fitting = self._fitting(site)
            self._slots[lane] = width = fitting or self._job.width
            for trial in [self._trials.get(number) for number in self._counts.running(lane)]:
                if _seat(trial).slot >= width:  # it comes from a device where more fits
                    why = f"width {width} is all that fits on {site}" if fitting else f"the lane has {width} slots now"
                    self._preempt(trial, why)
                    suspects.pop(trial.number, None)
            return self._attachment(lane, suspects)

    def _attachment(self, lane: int, suspects: Mapping[int, int] | None = None) -> Attachment:
        running = tuple(self._assignment(self._trials.get(n)) for n in self._counts.running(lane))
        state = self._checkpoints.read(lane) if running else None
        first = min((a.tick for a in running), default=self._counts.frontier(lane))
        return Attachment(first, running, state, self._fitting(self._sites.get(lane, "")), suspects or {})

    def _after_death(self, lane: int, died: str) -> dict[int, int]:
        """Fail the trial that killed its lane, or name those to be tried alone, with the epoch to be survived."""
        running = self._counts.running(lane)
        verdict = self._blame.died(lane, tuple(running))
        guilty = verdict.guilty
        if verdict.too_wide and self._slots[lane] > 1:
            self._halve(lane, f"{died}, {verdict.deaths} times without a finished epoch")
        elif verdict.too_wide:
            guilty = running[0]
        if guilty is not None and not self._trials.get(guilty).state.is_finished():
            detail = f"killed its lane {verdict.deaths} times, the last time alone in it: {died}"
            self._finish(self._trials.get(guilty), Outcome.FAILED, detail, tick=None)
        return {n: max(self._trials.get(n).curve, default=0) + 1 for n in verdict.suspects}

    def trying(self, lane: int, trial: int | None) -> None:
        """Note that a suspect is alone in its lane. None: all have survived."""
        with self._mutex:
            self._blame.trying(lane, trial)

    def shrink(self, lane: int) -> Attachment:
        """Halve a lane whose slots do not fit into memory; its trials go back into the queue."""
        with self._mutex, self._transaction():
            self._halve(lane, "out of memory")
            return self._attachment(lane)

    def _fitting(self, site: str) -> int | None:
        """The job's slots that fit there, where a lane has run out of memory before."""
        width = self._widths.get(site)
        return None if width is None else min(width, self._job.width)

    def _halve(self, lane: int, why: str) -> None:
        site, width = self._sites.get(lane, ""), self._slots.get(lane, self._job.width)
        self._widths.halve(site, width)
        self._slots[lane] = self._fitting(site) or width
        for number in self._counts.running(lane):
            self._preempt(self._trials.get(number), f"{why} at width {width}")

    def lost(self, lane: int, silent_s: float = math.inf) -> None:
        """Note that a lane has been silent for too long: lanes with free slots take over its trials.

        Nothing is taken from a lane that speaks again before another has had a free slot.
        """
        with self._mutex:
            self._takeover.lose(lane, silent_s)

    def heard(self, lane: int) -> None:
        """Note that a lost lane speaks again. Trials that were moved meanwhile stay where they are."""
        with self._mutex:
            self._takeover.heard(lane)

    def lanes(self) -> set[int]:
        """Lanes that have running trials, here or from an earlier run."""
        with self._mutex:
            return self._counts.lanes()

    def next(self, lane: int, tick: int, free: tuple[int, ...]) -> Work:
        """Trials for the free slots of a lane whose clock shows `tick`."""
        with self._mutex, self._transaction():
            if tick < self._counts.frontier(lane):
                return Work((), done=False)
            assignments: list[Assignment] = []
            for slot in free:
                assignment = None if self._abort() else self._adopt(lane, slot, tick) or self._propose(lane, slot, tick)
                if assignment is None:
                    break
                assignments.append(assignment)
            done = not assignments and not self._left() and not self._running_elsewhere(lane)
            return Work(tuple(assignments), done)

    def _running_elsewhere(self, lane: int) -> bool:
        """Whether another lane has trials that this one may have to take over. False when the stage is given up."""
        return not self._abort() and bool(self._counts.lanes() - {lane})

    def _adopt(self, lane: int, slot: int, tick: int) -> Assignment | None:
        """Move a trial of a lost lane into a slot of this one; it goes on from the lost lane's checkpoint."""
        for source in sorted(self._takeover.lost - {lane}):
            for number in self._counts.running(source):
                if not self._takeover.allowed(number, source, lane):
                    continue
                self._checkpoints.keep(number, source)
                self._takeover.take(number, source)
                return self._assignment(self._trials.move(number, Seat(lane, slot, tick)))
        return None

    def report(self, lane: int, tick: int, reports: tuple[Report, ...]) -> tuple[Decision, ...]:
        """Take in a lane's reports after an epoch. A repeated report changes nothing."""
        with self._mutex:
            for report in reports:
                if report.files and not self._refusal(lane, self._trials.get(report.number)):
                    self._snapshots.write(report.files)
            with self._transaction():
                return tuple(self._take_in(lane, tick, report) for report in reports)

    def close(self, number: int, outcome: Outcome, detail: str = "") -> None:
        """End a trial that no lane will report on again; a preempted one goes back into the queue."""
        with self._mutex, self._transaction():
            stored = self._trials.get(number)
            if stored.state.is_finished():
                return
            if outcome is Outcome.PREEMPTED:
                self._preempt(stored, detail)
            else:
                self._finish(stored, outcome, detail, tick=None)

    def checkpoint(self, lane: int, state: bytes) -> None:
        """Keep a lane's latest state."""
        self._checkpoints.write(lane, state)

    def progress(self) -> Progress:
        """The progress of the stage."""
        with self._mutex:
            counts = self._counts
            lanes = counts.lanes()
            if self._abort():  # nobody takes over the trials of a lost lane any more
                lanes -= self._takeover.lost
            running = sum(len(counts.running(lane)) for lane in lanes)
            return Progress(
                stage=self._job.stage,
                planned=self._job.trials,
                counts={name: count for name, count in counts.outcomes.items() if count},
                running=running,
                epochs_done=counts.epochs_done,
                epochs_planned=self._job.epochs,
                best=counts.best,
                finished=not running and not self._left(),
                abort=self._abort(),
                repeated=self._repeated,
                best_params=counts.best_params,
            )

    # -- inside -------------------------------------------------------------------------------------------------

    def _left(self) -> int:
        """Trials still to be handed out."""
        if self._abort():
            return 0
        if not isinstance(self._job.plan, SearchPlan):
            return self._counts.waiting
        if self._ending is not None and self._ending.reason:
            return self._counts.waiting
        return self._counts.waiting + max(self._job.plan.trials - self._counts.counted, 0)

    def _propose(self, lane: int, slot: int, tick: int) -> Assignment | None:
        """The next trial for a slot; None when there is none, or when the sampler has failed for good."""
        asked: optuna.Trial | None = None
        try:
            asked = self._ask()
            return None if asked is None else self._assign(asked, Seat(lane, slot, tick))
        except LabError:
            raise
        except Exception as error:  # any of Optuna's samplers may raise anything: the stage ends with its reason
            self._broken = f"the sampler failed with {type(error).__name__}: {error}"
            if asked is not None:
                self._trials.give_up(asked)
            return None

    def _ask(self) -> optuna.Trial | None:
        if not self._counts.waiting and not self._may_propose():
            return None
        number = self._counts.total if self._turns is None else self._turns.next
        self._study.sampler = self._seen.sampler = self._samplers(number)
        return self._seen.ask()

    def _may_propose(self) -> bool:
        """Whether a new trial is due, and the search does not end before it."""
        if not self._left() or (self._turns is not None and not self._turns.is_due):
            return False
        if self._ending is not None:
            self._ending.look()
        return bool(self._left())

    def _assign(self, asked: optuna.Trial, seat: Seat) -> Assignment:
        job = self._job
        params: Params = {}
        waiting = StoredTrial(self._storage.get_trial(asked._trial_id))
        for name, dimension in job.space.items():
            # A planned trial has the parameters it was planned with, whatever the space's conditions say of them.
            planned = waiting.waits_with if waiting.is_planned else None
            if name in planned if planned is not None else job.space.active(name, params):
                params[name] = suggest(asked, name, dimension)
        proposed = None
        if not waiting.is_planned:
            epochs = cast(SearchPlan, job.plan).epochs
            role = "search" if waiting.enqueued_as is None else "enqueued"
            proposed = Trial(params, derive_seed(job.seed, job.stage, asked.number), epochs, role)
        return self._assignment(self._trials.hand_out(asked, proposed, seat))

    def _assignment(self, stored: StoredTrial) -> Assignment:
        trial, seat = stored.trial, _seat(stored)
        if trial.own_schedule is None:
            trial = replace(trial, own_schedule=self._job.recipe.schedule(trial.params))
        return Assignment(stored.number, trial, seat.slot, seat.tick, self._checkpoints.kept(stored.number))

    def _take_in(self, lane: int, tick: int, report: Report) -> Decision:
        number = report.number
        trial = self._trials.get(number)
        refusal = self._refusal(lane, trial)
        if refusal:
            self._takeover.released(lane, number)
            return Decision(number, keep=False, reason=refusal)
        score = report.metrics.get(self._job.metric)
        # A lane that replays reports again: the pruner has let that epoch pass, and is not asked with more history.
        new = False
        if self._job.epoch_metrics and report.metrics and not trial.keeps_epoch(report.epoch):
            # Before the score, by which whoever follows a database's trials knows that an epoch has ended.
            self._trials.keep_epoch(number, report.epoch, report.metrics)
        if score is not None and math.isfinite(score) and report.epoch not in trial.curve:
            trial = self._trials.score(number, report.epoch, score)
            new = True
        if new or report.outcome is not None:
            self._blame.progressed(lane)
            self._takeover.progressed(number)
        else:
            self._repeated += 1
        outcome, detail = report.outcome, report.detail
        if outcome is Outcome.COMPLETED and (score is None or not math.isfinite(score)):
            outcome, detail = Outcome.DIVERGED, f"{self._job.metric} is {score}"
        measured = {**report.costs, **report.metrics}
        if outcome is Outcome.COMPLETED and (why := broken(self._job.limits, measured)):
            outcome, detail = Outcome.INFEASIBLE, why
        if outcome is None and new and self._pruned(trial):
            outcome, detail = Outcome.PRUNED, f"pruned after epoch {report.epoch}"
        if outcome is None:
            return Decision(number, keep=True, reason="goes on")
        self._trials.measure(number, measured, report.step_losses)
        self._finish(trial, outcome, detail, tick, score)
        return Decision(number, keep=False, reason=detail or str(outcome))

    @staticmethod
    def _refusal(lane: int, trial: StoredTrial) -> str:
        """The reason why a lane's report on a trial is not taken in; empty where it is."""
        if trial.state.is_finished():
            return "already closed"
        return "" if _seat(trial).lane == lane else "runs in another lane now"

    def _pruned(self, trial: StoredTrial) -> bool:
        try:
            return self._study.pruner.prune(self._study, trial.frozen)
        except Exception as error:  # as a sampler
            self._broken = f"the pruner failed with {type(error).__name__}: {error}"
            return False

    def _finish(
        self, trial: StoredTrial, outcome: Outcome, detail: str, tick: int | None, score: float | None = None
    ) -> None:
        self._trials.end(trial.number, outcome, detail, None if tick is None else tick + 1, score)
        self._checkpoints.forget(trial.number)
        if outcome is not Outcome.COMPLETED:
            self._snapshots.forget(trial.number)

    def _preempt(self, trial: StoredTrial, detail: str) -> None:
        self._trials.preempt(trial, detail)
        self._checkpoints.forget(trial.number)
        self._snapshots.forget(trial.number)

    def _abort(self) -> str:
        """The reason why the stage must stop, such as too many failed trials; empty while it goes on."""
        if self._broken:
            return self._broken
        failed = self._counts.outcomes[Outcome.FAILED]
        if failed < max(3, self._job.max_failed_share * self._job.trials):
            return ""
        reason = (self._counts.failure.strip().splitlines() or ["no reason"])[-1]
        summary = f"{failed} of {self._job.trials} trials failed, the last with: {reason}"
        if not isinstance(self._job.plan, SearchPlan):
            return summary
        more = f"lab study extend {shlex.quote(str(self._job.folder))} --trials +{self._job.trials}"
        limit = f"search.max_failed_share is {self._job.max_failed_share:g}"
        return f"{summary} ({limit}; when that is mended, go on by: {more})"


def _of_another_plan(stored: Sequence[StoredTrial], plan: tuple[Trial, ...] | SearchPlan) -> bool:
    """Whether trials were planned otherwise; a race that goes on may have some of rounds that are still to come."""
    if isinstance(plan, SearchPlan):
        return False
    planned = [(s, s.plan_index) for s in stored if s.is_planned and s.plan_index is not None]
    return any(_asked(s.trial) != _asked(plan[i]) for s, i in planned if i < len(plan))


def _asked(trial: Trial) -> tuple[int, int, int | None]:
    """What another plan would have otherwise."""
    return trial.seed, trial.epochs, trial.fold


def _seat(trial: StoredTrial) -> Seat:
    seat = trial.seat
    assert seat is not None  # it has been handed out
    return seat
