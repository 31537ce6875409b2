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
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from lab.errors import LabError
from lab.record.blame import Deaths
from lab.record.checkpoints import Checkpoints
from lab.record.counts import Tally
from lab.record.folder import Record, write_bytes
from lab.record.journal import QueueStorage
from lab.record.takeover import Moves
from lab.record.trial_storage import open_to_write
from lab.record.trial_writer import TrialWriter, planned_as_json
from lab.record.trials import readable
from lab.record.widths import Widths
from lab.schedules import parse_schedule
from lab.search.by_name import SamplerSource, build_pruner, sampler_source
from lab.search.ending import Ending, forget
from lab.search.known import as_trials
from lab.spec.distributions import conditions, distributions, suggest
from lab.spec.plan import (
    Assignment,
    Attachment,
    Decision,
    Job,
    Outcome,
    Planned,
    Progress,
    Report,
    SearchPlan,
    Store,
    Work,
    derive_seed,
)
from lab.spec.space import Params

_WAIT_S = 20.0
_UNFINISHED = "copy that nobody goes on with yet"
"""What a database keeps beside a stage that was copied, until the study that it was copied for goes on with it."""


class Ledger:
    """One stage's trials: asked for, reported on, closed. Not thread-safe by itself; calls are serialised here."""

    def __init__(self, job: Job) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._job = job
        search = job.plan if isinstance(job.plan, SearchPlan) else SearchPlan({"kind": "random"}, {}, 0, 0)
        space = distributions(job.space)
        self._known = as_trials(search.known, space)
        self._samplers: SamplerSource = sampler_source(
            search.sampler, job.seed, space, self._known, conditions(job.space)
        )
        self._ending: Ending | None = None
        self._pruner = build_pruner(search.pruner, search.epochs, job.seed)
        self._broken = ""
        self._mutex = threading.RLock()
        self._exit = ExitStack()
        self._deaths = Deaths()
        self._attached: set[int] = set()
        self._widths = Widths(job.folder)
        self._places: dict[int, str] = {}
        self._slots: dict[int, int] = {}
        """By lane, the width that it was told to have."""
        self._moves = Moves()
        self._checkpoints = Checkpoints(job.folder, job.stage)
        self._repeated = 0
        opened = self._exit.enter_context(open_to_write(job.folder, job.stage, job.store, _WAIT_S))
        self._storage, self._transaction = opened.storage, opened.transaction
        try:
            with readable(Record(job.folder).journal_path):
                self._open_study()
        except BaseException:
            self._exit.close()
            raise

    def _open_study(self) -> None:
        job = self._job
        with self._transaction():
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=_name(job.store, job.stage),
                sampler=self._samplers(0),
                pruner=self._pruner,
                direction=job.direction,
                load_if_exists=True,
            )
            if isinstance(job.plan, SearchPlan):
                space = distributions(job.space)
                when = conditions(job.space)
                self._ending = Ending(job.plan.until, self._study, space, job.seed, self._known, when)
            trials = self._study.get_trials(deepcopy=False)
            self._tally = Tally(job.direction, trials)
            self._trials = TrialWriter(self._study, self._storage, self._tally)
            if isinstance(self._storage, QueueStorage):
                self._storage.any_waits = lambda: self._tally.waiting > 0
            if not isinstance(job.plan, SearchPlan):
                # A database's last writer may have died between ending a preempted trial and entering it anew.
                have = {t.user_attrs.get("plan_index") for t in trials if not _was_preempted(t)}
                for index, planned in enumerate(job.plan):
                    if index not in have:
                        self._trials.enqueue(planned.params, planned_as_json(planned), {"plan_index": index})
            for trial in trials:
                if trial.state != TrialState.RUNNING:
                    continue
                place = trial.user_attrs.get("assignment")
                if place is None:  # the database's last writer died between asking for it and handing it out
                    self._preempt(trial, "was never handed out")
                elif not 0 <= place["lane"] < job.lanes:
                    self._moves.lose(place["lane"], math.inf)

    def release(self) -> None:
        """Give the folder's lock back; the ledger must not be used afterwards."""
        self._exit.close()

    # -- what lanes call ----------------------------------------------------------------------------------------

    def attach(self, lane: int, died: str = "", place: str = "") -> Attachment:
        """Where `lane` has to begin: its checkpoint, and the running trials that are its own.

        Args:
            died: how the process died that had this lane before, where its trials may be to blame.
            place: the node and the kind of device that it is on; what fits into memory is remembered for that.
        """
        with self._mutex, self._transaction():
            self._moves.begin(lane)
            suspects = self._after_death(lane, died) if died and lane in self._attached else {}
            self._attached.add(lane)
            self._places[lane] = place
            fitting = self._fitting(place)
            self._slots[lane] = width = fitting or self._job.width
            for trial in [self._trials.get(number) for number in self._tally.running(lane)]:
                if trial.user_attrs["assignment"]["slot"] >= width:  # it comes from a place where more fits
                    why = f"width {width} is all that fits on {place}" if fitting else f"the lane has {width} slots now"
                    self._preempt(trial, why)
                    suspects.pop(trial.number, None)
            return self._attachment(lane, suspects)

    def _attachment(self, lane: int, suspects: Mapping[int, int] | None = None) -> Attachment:
        running = tuple(self._assignment(self._trials.get(n)) for n in self._tally.running(lane))
        state = self._checkpoints.read(lane) if running else None
        first = min((a.tick for a in running), default=self._tally.frontier(lane))
        return Attachment(first, running, state, self._fitting(self._places.get(lane, "")), suspects or {})

    def _after_death(self, lane: int, died: str) -> dict[int, int]:
        """Fail the trial that killed its lane, or name those to be tried alone, with the epoch to be survived."""
        running = self._tally.running(lane)
        verdict = self._deaths.died(lane, tuple(running))
        guilty = verdict.guilty
        if verdict.too_wide and self._slots[lane] > 1:
            self._halve(lane, f"{died}, {verdict.deaths} times without a finished epoch")
        elif verdict.too_wide:
            guilty = running[0]
        if guilty is not None and not self._trials.get(guilty).state.is_finished():
            detail = f"killed its lane {verdict.deaths} times, the last time alone in it: {died}"
            self._finish(self._trials.get(guilty), Outcome.FAILED, detail, tick=None)
        return {n: max(self._trials.get(n).intermediate_values, default=0) + 1 for n in verdict.suspects}

    def trying(self, lane: int, trial: int | None) -> None:
        """A suspect is alone in its lane; None: all have survived."""
        with self._mutex:
            self._deaths.trying(lane, trial)

    def shrink(self, lane: int) -> Attachment:
        """Halve a lane whose slots do not fit into memory; its trials go back into the queue."""
        with self._mutex, self._transaction():
            self._halve(lane, "out of memory")
            return self._attachment(lane)

    def _fitting(self, place: str) -> int | None:
        """The job's slots that fit there, where that has been found out."""
        known = self._widths.get(place)
        return None if known is None else min(known, self._job.width)

    def _halve(self, lane: int, why: str) -> None:
        place, width = self._places.get(lane, ""), self._slots.get(lane, self._job.width)
        self._widths.halve(place, width)
        self._slots[lane] = self._fitting(place) or width
        for number in self._tally.running(lane):
            self._preempt(self._trials.get(number), f"{why} at width {width}")

    def lost(self, lane: int, silent_s: float = math.inf) -> None:
        """A lane has not been heard of for too long: lanes with free slots take its trials over.

        Nothing is taken from a lane that speaks again before another has had a free slot.
        """
        with self._mutex:
            self._moves.lose(lane, silent_s)

    def found(self, lane: int) -> None:
        """A lane that was lost speaks again; what was moved meanwhile stays where it is."""
        with self._mutex:
            self._moves.find(lane)

    def lanes(self) -> set[int]:
        """Lanes that have running trials, here or from an earlier run."""
        with self._mutex:
            return self._tally.lanes()

    def next(self, lane: int, tick: int, free: tuple[int, ...]) -> Work:
        """Trials for the free slots of a lane whose clock shows `tick`."""
        with self._mutex, self._transaction():
            if tick < self._tally.frontier(lane):
                return Work((), done=False)
            found: list[Assignment] = []
            for slot in free:
                assignment = None if self._abort() else self._adopt(lane, slot, tick) or self._propose(lane, slot, tick)
                if assignment is None:
                    break
                found.append(assignment)
            return Work(tuple(found), done=not found and not self._left() and not self._running_elsewhere(lane))

    def _running_elsewhere(self, lane: int) -> bool:
        """Whether another lane has trials, which this one may have to take over; not when the stage is given up."""
        return not self._abort() and bool(self._tally.lanes() - {lane})

    def _adopt(self, lane: int, slot: int, tick: int) -> Assignment | None:
        """Move a trial of a lost lane into a slot of this one; it goes on from the lost lane's checkpoint."""
        for source in sorted(self._moves.lost - {lane}):
            for number in self._tally.running(source):
                if not self._moves.allowed(number, source, lane):
                    continue
                self._checkpoints.keep(number, source)
                self._moves.take(number, source)
                return self._assignment(self._trials.move(number, {"lane": lane, "slot": slot, "tick": tick}))
        return None

    def report(self, lane: int, tick: int, reports: tuple[Report, ...]) -> tuple[Decision, ...]:
        """Take in what a lane says after an epoch; a repeated report changes nothing."""
        with self._mutex:
            for report in reports:
                for name, content in report.files.items():
                    write_bytes(self._job.folder / name, content)
            with self._transaction():
                return tuple(self._take_in(lane, tick, report) for report in reports)

    def close(self, trial: int, outcome: Outcome, detail: str = "") -> None:
        """End a trial that no lane will report on again; a preempted one goes back into the queue."""
        with self._mutex, self._transaction():
            frozen = self._trials.get(trial)
            if frozen.state.is_finished():
                return
            if outcome is Outcome.PREEMPTED:
                self._preempt(frozen, detail)
            else:
                self._finish(frozen, outcome, detail, tick=None)

    def checkpoint(self, lane: int, state: bytes) -> None:
        """Keep a lane's latest state."""
        self._checkpoints.write(lane, state)

    def progress(self) -> Progress:
        """How far the stage is."""
        with self._mutex:
            tally = self._tally
            lanes = tally.lanes()
            if self._abort():  # nobody takes over the trials of a lost lane any more
                lanes -= self._moves.lost
            running = sum(len(tally.running(lane)) for lane in lanes)
            return Progress(
                stage=self._job.stage,
                planned=self._job.trials,
                counts={name: count for name, count in tally.outcomes.items() if count},
                running=running,
                epochs_done=tally.epochs_done,
                epochs_planned=self._job.epochs,
                best=tally.best,
                finished=not running and not self._left(),
                abort=self._abort(),
                repeated=self._repeated,
            )

    # -- inside -------------------------------------------------------------------------------------------------

    def _left(self) -> int:
        """Trials still to be handed out."""
        if self._abort():
            return 0
        if not isinstance(self._job.plan, SearchPlan):
            return self._tally.waiting
        if self._ending is not None and self._ending.reason:
            return self._tally.waiting
        return self._tally.waiting + max(self._job.plan.trials - self._tally.counted, 0)

    def _propose(self, lane: int, slot: int, tick: int) -> Assignment | None:
        """The next trial for a slot; None when there is none, or when the sampler has failed for good."""
        trial: optuna.Trial | None = None
        try:
            trial = self._take()
            return None if trial is None else self._assign(trial, lane, slot, tick)
        except LabError:
            raise
        except Exception as error:  # any of Optuna's samplers may raise anything: the stage ends with its reason
            self._broken = f"the sampler failed with {type(error).__name__}: {error}"
            if trial is not None:
                self._trials.give_up(trial)
            return None

    def _take(self) -> optuna.Trial | None:
        if self._left() and self._ending is not None:
            self._ending.look(self._tally.best)
        if not self._left():
            return None
        self._study.sampler = self._samplers(self._tally.total)
        return self._study.ask()

    def _assign(self, trial: optuna.Trial, lane: int, slot: int, tick: int) -> Assignment:
        job = self._job
        params: Params = {}
        fixed = self._storage.get_trial(trial._trial_id).system_attrs.get("fixed_params")
        for name, dimension in job.space.items():
            # A planned trial has the parameters it was planned with, whatever the space's conditions say of them.
            if name in fixed if fixed is not None else job.space.active(name, params):
                params[name] = suggest(trial, name, dimension)
        planned = None
        if "planned" not in trial.user_attrs:
            plan = cast(SearchPlan, job.plan)
            seed = derive_seed(job.seed, job.stage, trial.number)
            planned = planned_as_json(Planned(params, seed, plan.epochs, "search"))
        return self._assignment(self._trials.hand_out(trial, planned, {"lane": lane, "slot": slot, "tick": tick}))

    def _assignment(self, trial: FrozenTrial) -> Assignment:
        planned, place = trial.user_attrs["planned"], trial.user_attrs["assignment"]
        params = cast(Params, dict(trial.params))
        schedule = parse_schedule(planned["schedule"]) if planned["schedule"] else self._job.recipe.schedule(params)
        return Assignment(
            trial=trial.number,
            params=params,
            seed=planned["seed"],
            epochs=planned["epochs"],
            schedule=schedule,
            slot=place["slot"],
            tick=place["tick"],
            keep=planned["keep"],
            state=self._checkpoints.kept(trial.number),
        )

    def _take_in(self, lane: int, tick: int, report: Report) -> Decision:
        trial = self._trials.get(report.trial)
        if trial.state.is_finished():
            return Decision(report.trial, keep=False, reason="already closed")
        if trial.user_attrs["assignment"]["lane"] != lane:
            self._moves.released(lane, report.trial)
            return Decision(report.trial, keep=False, reason="runs in another lane now")
        score = report.metrics.get(self._job.metric)
        # A lane that replays reports again: the pruner has let that epoch pass, and is not asked with more history.
        new = False
        if score is not None and math.isfinite(score) and report.epoch not in trial.intermediate_values:
            trial = self._trials.score(report.trial, report.epoch, score)
            new = True
        if new or report.outcome is not None:
            self._deaths.progressed(lane)
            self._moves.progressed(report.trial)
        else:
            self._repeated += 1
        outcome, detail = report.outcome, report.detail
        if outcome is Outcome.COMPLETED and (score is None or not math.isfinite(score)):
            outcome, detail = Outcome.DIVERGED, f"{self._job.metric} is {score}"
        if outcome is None and new and self._pruned(trial):
            outcome, detail = Outcome.PRUNED, f"pruned after epoch {report.epoch}"
        if outcome is None:
            return Decision(report.trial, keep=True, reason="goes on")
        self._trials.measure(report.trial, report.metrics, report.step_losses)
        self._finish(trial, outcome, detail, tick, score)
        return Decision(report.trial, keep=False, reason=detail or str(outcome))

    def _pruned(self, trial: FrozenTrial) -> bool:
        try:
            return self._study.pruner.prune(self._study, trial)
        except Exception as error:  # as a sampler
            self._broken = f"the pruner failed with {type(error).__name__}: {error}"
            return False

    def _finish(
        self, trial: FrozenTrial, outcome: Outcome, detail: str, tick: int | None, score: float | None = None
    ) -> None:
        self._trials.end(trial.number, outcome, detail, None if tick is None else tick + 1, score)
        self._checkpoints.forget(trial.number)

    def _preempt(self, trial: FrozenTrial, detail: str) -> None:
        self._trials.preempt(trial, detail)
        self._checkpoints.forget(trial.number)

    def _abort(self) -> str:
        """Why the stage must stop: too large a share of its trials failed."""
        if self._broken:
            return self._broken
        failed = self._tally.outcomes[Outcome.FAILED]
        if failed < max(3, self._job.max_failed_share * self._job.trials):
            return ""
        reason = self._tally.failure.strip().splitlines()
        told = f"{failed} of {self._job.trials} trials failed, the last with: {reason[-1] if reason else 'no reason'}"
        if not isinstance(self._job.plan, SearchPlan):
            return told
        more = f"lab study extend {shlex.quote(str(self._job.folder))} --trials +{self._job.trials}"
        return (
            f"{told} (search.max_failed_share is {self._job.max_failed_share:g}; when that is mended, go on by: {more})"
        )


def _was_preempted(trial: FrozenTrial) -> bool:
    return trial.state.is_finished() and trial.user_attrs.get("outcome") == Outcome.PREEMPTED


def go_on(folder: Path, store: Store | None, kept: Sequence[str], dropped: Sequence[str]) -> None:
    """Let the stages `kept` go on, a search that has ended too, and delete the trials of those `dropped`.

    Doing it again changes nothing.

    Raises:
        RecordError: another process writes trials, or they cannot be read or written.
    """
    with (
        open_to_write(folder, kept[-1], store, _WAIT_S) as opened,
        readable(Record(folder).journal_path),
        opened.transaction(),
    ):
        for name in (_name(store, stage) for stage in dropped):
            if _loaded(opened.storage, name) is not None:
                optuna.delete_study(study_name=name, storage=opened.storage)
        for name in (_name(store, stage) for stage in kept):
            study = _loaded(opened.storage, name)
            if study is not None:
                forget(study)
                if study.user_attrs.get(_UNFINISHED):
                    study.set_user_attr(_UNFINISHED, False)


def copy_stages(folder: Path, old: Store, new: Store, stages: Sequence[str]) -> None:
    """Copy a study's trials in its database to another study, which has to `go_on` with them.

    Trials that are there already stay as they are, but for those of a copy that nobody has gone on with.

    Raises:
        RecordError: another process writes trials of the other study, or the database cannot be reached.
    """
    with open_to_write(folder, stages[-1], new, _WAIT_S) as opened:
        for stage in stages:
            _copy(opened.storage, old.name(stage), new.name(stage))


def _copy(storage: BaseStorage, source: str, target: str) -> None:
    study, there = _loaded(storage, source), _loaded(storage, target)
    if there is not None:
        if there.get_trials(deepcopy=False) and not there.user_attrs.get(_UNFINISHED):
            return
        optuna.delete_study(study_name=target, storage=storage)
    if study is None:  # the stage has not begun
        return
    copied = optuna.create_study(study_name=target, storage=storage, directions=study.directions)
    # Before anything else: whatever a kill leaves of the copy is seen to be one.
    copied.set_user_attr(_UNFINISHED, True)
    for name, value in storage.get_study_system_attrs(study._study_id).items():
        storage.set_study_system_attr(copied._study_id, name, value)
    for name, value in study.user_attrs.items():
        if name != _UNFINISHED:
            copied.set_user_attr(name, value)
    for trial in study.get_trials(deepcopy=False):
        storage.create_new_trial(copied._study_id, template_trial=trial)


def _loaded(storage: BaseStorage, name: str) -> optuna.Study | None:
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return None


def _name(store: Store | None, stage: str) -> str:
    return store.name(stage) if store else stage
