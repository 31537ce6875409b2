"""The ledger: the only writer of trials. It owns sampler, pruner and storage; lanes ask it for work and report.

State is the storage and nothing else, so a ledger built anew on the same storage goes on where the last one was
killed. To make that exact, each lane keeps a clock of *ticks* (epochs since its stage began) and every assignment
notes the slot and the tick at which it starts: a lane that comes back replays its running trials at their ticks,
and nothing new is proposed before the tick at which the last proposal was made.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from lab.assignment import (
    Assignment,
    Attachment,
    Decision,
    Job,
    Outcome,
    Planned,
    Progress,
    Report,
    SearchPlan,
    Work,
    derive_seed,
)
from lab.database import held
from lab.deaths import Deaths
from lab.errors import LabError, SpecError
from lab.journal import QueueStorage, TransactionalJournal
from lab.record import Record, locked, write_bytes
from lab.schedules import parse_schedule
from lab.search.components import SamplerSource, build_pruner, sampler_source
from lab.search.ending import Ending
from lab.search.known import as_trials
from lab.space import Choice, Dimension, Float, Int, Params, Space
from lab.tally import Tally
from lab.trials import close_storage, open_storage, readable
from lab.widths import Widths

_WAIT_S = 20.0
_AGAIN_S = 30.0
"""A trial that was moved and has finished no epoch since is moved again after so long, and then ever later."""
_STATE = {Outcome.COMPLETED: TrialState.COMPLETE, Outcome.PRUNED: TrialState.PRUNED}


def distribution(dimension: Dimension) -> BaseDistribution:
    """A dimension in Optuna's terms."""
    match dimension:
        case Float(low, high, log):
            return FloatDistribution(low, high, log=log)
        case Int(low, high, log):
            return IntDistribution(low, high, log=log)
        case Choice(options):
            return CategoricalDistribution(options)
        case _:
            raise SpecError("space", "'from: bounds' is unresolved; stage 'bounds' has to run first")


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """A space in Optuna's terms."""
    return {name: distribution(dimension) for name, dimension in space.items()}


def planned_as_json(planned: Planned) -> dict[str, Any]:
    schedule = planned.schedule.to_dict() if planned.schedule else None
    return {
        "seed": planned.seed,
        "epochs": planned.epochs,
        "role": planned.role,
        "keep": planned.keep,
        "schedule": schedule,
    }


class Ledger:
    """One stage's trials: asked for, reported on, closed. Not thread-safe by itself; calls are serialised here."""

    def __init__(self, job: Job) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._job = job
        search = job.plan if isinstance(job.plan, SearchPlan) else SearchPlan({"kind": "random"}, {}, 0, 0)
        space = distributions(job.space)
        self._known = as_trials(search.known, space)
        self._samplers: SamplerSource = sampler_source(search.sampler, job.seed, space, self._known)
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
        self._lost: dict[int, float] = {}
        """Lanes not heard of, and for how many seconds: their running trials may be moved to others."""
        self._moved: dict[int, set[int]] = {}
        """By lane, trials taken from it that it may still be training."""
        self._moves: Counter[int] = Counter()
        """How often a trial was moved since it last finished an epoch."""
        self._repeated = 0
        self._still_held: Callable[[], None] = lambda: None
        record = Record(job.folder)
        # A killed driver's ledger may live on for a moment in another process.
        self._exit.enter_context(
            locked(job.folder / ".ledger.lock", f"the ledger of stage '{job.stage}'", wait_s=_WAIT_S)
        )
        try:
            if job.store:
                self._still_held = self._exit.enter_context(held(job.store, job.stage, _WAIT_S))
            self._journal = None if job.store else TransactionalJournal(record.journal_path)
            with readable(record.journal_path):
                self._storage = open_storage(job.store, self._journal)
                self._exit.callback(close_storage, self._storage)
                self._open_study()
        except BaseException:
            self._exit.close()
            raise

    def _open_study(self) -> None:
        job = self._job
        with self._transaction():
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=job.store.name(job.stage) if job.store else job.stage,
                sampler=self._samplers(0),
                pruner=self._pruner,
                direction=job.direction,
                load_if_exists=True,
            )
            if isinstance(job.plan, SearchPlan):
                space = distributions(job.space)
                self._ending = Ending(job.plan.until, self._study, space, job.seed, self._known)
            trials = self._study.get_trials(deepcopy=False)
            self._tally = Tally(job.direction, trials)
            if isinstance(self._storage, QueueStorage):
                self._storage.any_waits = lambda: self._tally.waiting > 0
            if not isinstance(job.plan, SearchPlan):
                have = {t.user_attrs["plan_index"] for t in trials if "plan_index" in t.user_attrs}
                for index, planned in enumerate(job.plan):
                    if index not in have:
                        self._enqueue(planned.params, planned_as_json(planned), {"plan_index": index})
            for trial in trials:
                if trial.state != TrialState.RUNNING:
                    continue
                place = trial.user_attrs.get("assignment")
                if place is None:  # the database's last writer died between asking for it and handing it out
                    self._preempt(trial, "was never handed out")
                elif not 0 <= place["lane"] < job.lanes:
                    self._lost[place["lane"]] = math.inf

    def _enqueue(self, params: dict[str, Any], planned: dict[str, Any], attrs: dict[str, Any]) -> None:
        template = create_trial(
            state=TrialState.WAITING,
            system_attrs={"fixed_params": params},
            user_attrs={"planned": planned, **attrs},
        )
        number = self._storage.create_new_trial(self._study._study_id, template_trial=template)
        self._tally.observe(self._storage.get_trial(number))

    def _transaction(self) -> AbstractContextManager[None]:
        self._still_held()
        return self._journal.transaction() if self._journal else nullcontext()

    def _trial(self, number: int) -> FrozenTrial:
        return self._storage.get_trial(self._tally.storage_id(number))

    def _set(self, number: int, name: str, value: Any) -> None:
        self._storage.set_trial_user_attr(self._tally.storage_id(number), name, value)

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
            self._lost.pop(lane, None)
            self._moved.pop(lane, None)
            suspects = self._after_death(lane, died) if died and lane in self._attached else {}
            self._attached.add(lane)
            self._places[lane] = place
            self._slots[lane] = width = self._fitting(place) or self._job.width
            for trial in [self._trial(number) for number in self._tally.running(lane)]:
                if trial.user_attrs["assignment"]["slot"] >= width:  # it comes from a place where more fits
                    self._preempt(trial, f"width {width} is all that fits on {place}")
                    suspects.pop(trial.number, None)
            return self._attachment(lane, suspects)

    def _attachment(self, lane: int, suspects: Mapping[int, int] | None = None) -> Attachment:
        running = tuple(self._assignment(self._trial(n)) for n in self._tally.running(lane))
        path = self._checkpoint_path(lane)
        state = path.read_bytes() if running and path.exists() else None
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
        if guilty is not None and not self._trial(guilty).state.is_finished():
            detail = f"killed its lane {verdict.deaths} times, the last time alone in it: {died}"
            self._finish(self._trial(guilty), Outcome.FAILED, detail, tick=None)
        return {n: max(self._trial(n).intermediate_values, default=0) + 1 for n in verdict.suspects}

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
            self._preempt(self._trial(number), f"{why} at width {width}")

    def lost(self, lane: int, silent_s: float = math.inf) -> None:
        """A lane has not been heard of for too long: lanes with free slots take its trials over.

        Nothing is taken from a lane that speaks again before another has had a free slot.
        """
        with self._mutex:
            self._lost[lane] = silent_s

    def found(self, lane: int) -> None:
        """A lane that was lost speaks again; what was moved meanwhile stays where it is."""
        with self._mutex:
            self._lost.pop(lane, None)

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
        for source in sorted(self._lost.keys() - {lane}):
            for number in self._tally.running(source):
                if number in self._moved.get(lane, ()) or self._lost[source] < self._patience_s(number):
                    continue
                checkpoint, moved = self._checkpoint_path(source), self._moved_path(number)
                # A copy, since the lost lane, when it is back, writes its own anew; and none older than what it had.
                if checkpoint.exists() and (not moved.exists() or _age(checkpoint) > _age(moved)):
                    write_bytes(moved, checkpoint.read_bytes())
                self._moved.setdefault(source, set()).add(number)
                self._moves[number] += 1
                self._set(number, "assignment", {"lane": lane, "slot": slot, "tick": tick})
                return self._observed(number)
        return None

    def _patience_s(self, number: int) -> float:
        """How long a trial's lane has to be silent before the trial is moved.

        One that kills its lanes would else flee from each, where a process starts slowly, and never be found out.
        """
        moves = self._moves[number]
        return _AGAIN_S * 4.0 ** (moves - 1) if moves else 0.0

    def _observed(self, number: int) -> Assignment:
        trial = self._trial(number)
        self._tally.observe(trial)
        return self._assignment(trial)

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
            frozen = self._trial(trial)
            if frozen.state.is_finished():
                return
            if outcome is Outcome.PREEMPTED:
                self._preempt(frozen, detail)
            else:
                self._finish(frozen, outcome, detail, tick=None)

    def checkpoint(self, lane: int, state: bytes) -> None:
        """Keep a lane's latest state."""
        write_bytes(self._checkpoint_path(lane), state)

    def progress(self) -> Progress:
        """How far the stage is."""
        with self._mutex:
            tally = self._tally
            lanes = tally.lanes()
            if self._abort():  # nobody takes over the trials of a lost lane any more
                lanes -= self._lost.keys()
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

    def _checkpoint_path(self, lane: int) -> Path:
        return self._job.folder / "lanes" / f"{self._job.stage}-{lane}.safetensors"

    def _moved_path(self, trial: int) -> Path:
        """The checkpoint from which a moved trial goes on."""
        return self._job.folder / "lanes" / f"{self._job.stage}-moved-{trial}.safetensors"

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
                # Not by `tell`, which would ask the sampler again.
                self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                self._tally.observe(self._storage.get_trial(trial._trial_id))
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
                params[name] = _suggest(trial, name, dimension)
        planned = trial.user_attrs.get("planned")
        if planned is None:
            plan = cast(SearchPlan, job.plan)
            seed = derive_seed(job.seed, job.stage, trial.number)
            planned = planned_as_json(Planned(params, seed, plan.epochs, "search"))
            trial.set_user_attr("planned", planned)
        trial.set_user_attr("assignment", {"lane": lane, "slot": slot, "tick": tick})
        self._tally.observe(self._storage.get_trial(trial._trial_id))
        return self._assignment(self._trial(trial.number))

    def _assignment(self, trial: FrozenTrial) -> Assignment:
        planned, place = trial.user_attrs["planned"], trial.user_attrs["assignment"]
        params = cast(Params, dict(trial.params))
        schedule = parse_schedule(planned["schedule"]) if planned["schedule"] else self._job.recipe.schedule(params)
        moved = self._moved_path(trial.number)
        return Assignment(
            trial=trial.number,
            params=params,
            seed=planned["seed"],
            epochs=planned["epochs"],
            schedule=schedule,
            slot=place["slot"],
            tick=place["tick"],
            keep=planned["keep"],
            state=moved.read_bytes() if moved.exists() else None,
        )

    def _take_in(self, lane: int, tick: int, report: Report) -> Decision:
        trial = self._trial(report.trial)
        if trial.state.is_finished():
            return Decision(report.trial, keep=False, reason="already closed")
        if trial.user_attrs["assignment"]["lane"] != lane:
            self._moved.get(lane, set()).discard(report.trial)
            return Decision(report.trial, keep=False, reason="runs in another lane now")
        storage = self._storage
        score = report.metrics.get(self._job.metric)
        # A lane that replays reports again: the pruner has let that epoch pass, and is not asked with more history.
        new = False
        if score is not None and math.isfinite(score) and report.epoch not in trial.intermediate_values:
            storage.set_trial_intermediate_value(trial._trial_id, report.epoch, score)
            new = True
        if new or report.outcome is not None:
            self._deaths.progressed(lane)
            self._moves.pop(report.trial, None)
        else:
            self._repeated += 1
        outcome, detail = report.outcome, report.detail
        if outcome is Outcome.COMPLETED and (score is None or not math.isfinite(score)):
            outcome, detail = Outcome.DIVERGED, f"{self._job.metric} is {score}"
        # Of a replayed epoch the pruner has decided already, and must not be asked again with more history.
        if outcome is None and new and self._pruned(trial.number):
            outcome, detail = Outcome.PRUNED, f"pruned after epoch {report.epoch}"
        if outcome is None:
            if new:
                self._tally.observe(self._trial(report.trial))
            return Decision(report.trial, keep=True, reason="goes on")
        if report.step_losses:
            storage.set_trial_user_attr(trial._trial_id, "step_losses", _short(report.step_losses))
        metrics = {name: _short([value])[0] for name, value in report.metrics.items()}
        storage.set_trial_user_attr(trial._trial_id, "metrics", metrics)
        self._finish(trial, outcome, detail, tick, score)
        return Decision(report.trial, keep=False, reason=detail or str(outcome))

    def _pruned(self, number: int) -> bool:
        return self._study.pruner.prune(self._study, self._trial(number))

    def _finish(
        self, trial: FrozenTrial, outcome: Outcome, detail: str, tick: int | None, score: float | None = None
    ) -> None:
        set_attr = self._storage.set_trial_user_attr
        set_attr(trial._trial_id, "outcome", str(outcome))
        if tick is not None:
            set_attr(trial._trial_id, "end_tick", tick + 1)
        if detail:
            set_attr(trial._trial_id, "detail", detail)
        self._moved_path(trial.number).unlink(missing_ok=True)
        state = _STATE.get(outcome, TrialState.FAIL)
        values = [score] if state == TrialState.COMPLETE and score is not None else None
        self._study.tell(trial.number, values, state=state)
        self._tally.observe(self._trial(trial.number))

    def _preempt(self, trial: FrozenTrial, detail: str) -> None:
        planned = trial.user_attrs.get("planned")
        self._finish(trial, Outcome.PREEMPTED, detail, tick=None)
        if planned is not None:
            attrs = {"replaces": trial.number}
            if "plan_index" in trial.user_attrs:
                attrs["plan_index"] = trial.user_attrs["plan_index"]
            self._enqueue(dict(trial.params), planned, attrs)

    def _abort(self) -> str:
        """Why the stage must stop: too large a share of its trials failed."""
        if self._broken:
            return self._broken
        failed = self._tally.outcomes[Outcome.FAILED]
        if failed < max(3, self._job.max_failed_share * self._job.trials):
            return ""
        reason = self._tally.failure.strip().splitlines()
        return f"{failed} of {self._job.trials} trials failed, the last with: {reason[-1] if reason else 'no reason'}"


def _age(path: Path) -> int:
    return path.stat().st_mtime_ns


def _suggest(trial: optuna.Trial, name: str, dimension: Dimension) -> Any:
    match dimension:
        case Float(low, high, log):
            return trial.suggest_float(name, low, high, log=log)
        case Int(low, high, log):
            return trial.suggest_int(name, low, high, log=log)
        case Choice(options):
            return trial.suggest_categorical(name, options)
    raise SpecError(f"space.{name}", "'from: bounds' is unresolved")


def _short(values: Any) -> list[float | None]:
    """Floats as JSON can hold them: seven digits, and null for NaN and infinities."""
    return [float(f"{v:.7g}") if math.isfinite(v) else None for v in values]
