"""The Python face: a `Study` composes a spec, its record, an engine and the stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lab.errors import SpecError, StudyError
from lab.record.folder import Record
from lab.spec.in_html import rows_html
from lab.spec.plan import OWN_LOOP
from lab.spec.space import Dimension, Params, Space, dump_dimension, parse_dimension
from lab.spec.study import StudySpec, parse_spec
from lab.stages import STAGES, TRAINS, bounds, enqueued, explain, explore
from lab.stages.stage import Stage
from lab.study.callbacks import Callbacks, OnStageEnd, OnTrialEnd
from lab.study.check import check_components
from lab.study.data import is_fresh, open_data, undone_if_refused
from lab.study.going_on import adopted, require_own, settle, stored_spec
from lab.study.kept_files import kept_at
from lab.study.machines import with_flags
from lab.study.progress import Display
from lab.study.results import Result, write_trials
from lab.study.stages_run import StagesRun, stages_until
from lab.study.stop import stop_on_interrupt
from lab.study.tracking import check_service, trials_tracked
from lab.study.undecided import with_undecided
from lab.tasks.to_spec import spec_value

if TYPE_CHECKING:
    from lab.study.own_loop import Asked, OwnLoop
    from lab.tasks.task import Task, TrialFunction


class Study:
    """A study, to be run, resumed and read.

    Args:
        task: a kind (`"digits"`), `"file.py:Name"`, a mapping of kind and options, a `Task`, or a trial function.
        space: what is searched.
        name: of the study and of its folder `runs/<name>`.
        trials, epochs: of the explore stage; epochs are 27 if not given, and 1 for a loop of one's own.
        folder: the study folder, if not `runs/<name>`.
        settings: further sections of the spec, e.g. `final={"epochs": 30}`.

    Raises:
        SpecError: something in it cannot be run.

    >>> space = lab.Space(max_lr=lab.Float(1e-3, 0.1, log=True), dropout=lab.Float(0.0, 0.5))
    >>> study = lab.Study("digits", space, name="short", trials=2, epochs=1)
    >>> result = study.run(engine="local", width=2, until="explore")
    >>> list(result.trials["outcome"])
    ['completed', 'completed']
    """

    def __init__(
        self,
        task: str | Mapping[str, Any] | Task | TrialFunction,
        space: Space | Mapping[str, Dimension | Mapping[str, Any]],
        *,
        name: str = "study",
        trials: int = 64,
        epochs: int | None = None,
        folder: str | Path | None = None,
        **settings: Any,
    ) -> None:
        value_of_task = spec_value(task)
        if epochs is None:
            epochs = 1 if value_of_task.get("kind") == OWN_LOOP else 27
        search = {"trials": trials, "epochs": epochs, **settings.pop("search", {})}
        at = _folder(folder, name)
        files = dict[str, Path](getattr(task, "frame_files", {}))
        own = {**value_of_task, **{option: str(kept_at(at, option)) for option in files}}
        value = {"name": name, "task": own, "space": space, "search": search, **settings}
        self._set(parse_spec(value), at, files)

    def _set(self, spec: StudySpec, folder: Path, files: Mapping[str, Path] = MappingProxyType({})) -> None:
        self.spec = spec
        self.record = Record(folder)
        self._files = files
        """Tables that were given as frames, by option; the folder keeps them."""
        self._enqueued: list[Params] = []
        """Settings to be tried first that the folder does not keep yet."""
        self._display: Display | None = None
        """Where it is shown what runs; None while nothing does."""
        self._loop: OwnLoop | None = None

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        spec = self.spec
        done = [stage.name for stage in STAGES if stage.is_complete(self.record)]
        searched = {name: str(dimension) for name, dimension in spec.space.items()}
        plan = f"{spec.search.trials} trials of {spec.search.epochs} epochs"
        said = {"study": spec.name, "task": spec.task.kind, "folder": str(self.record.folder), "search": plan}
        return rows_html(said | searched | {"complete": ", ".join(done) or "nothing yet"})

    @property
    def is_foreign(self) -> bool:
        """Whether another user has begun it, so that it is only looked at; see `lab.record.trust`."""
        return self.spec.task.foreign

    @classmethod
    def from_spec(cls, spec: StudySpec, folder: str | Path | None = None) -> Study:
        """A study of a spec that has been read from a file."""
        study = cls.__new__(cls)
        study._set(spec, _folder(folder, spec.name))
        return study

    @classmethod
    def open(cls, folder: str | Path, *, trust: bool = False) -> Study:
        """The study that a folder holds.

        Args:
            trust: trust a study that another user has begun, from now on: run its code, ask its database, go on with
                it. Without that it is only looked at.

        Raises:
            RecordError: the folder holds none, or is another user's and leads out of itself.
        """
        record = Record(_path("folder", folder))
        return cls.from_spec(stored_spec(record, trust=trust), record.folder)

    def require_own(self) -> None:
        """Refuse to change a study that another user has begun, or one whose files are links.

        Raises:
            RecordError: with what to say to trust it.
        """
        require_own(self.spec, self.record)

    @property
    def result(self) -> Result:
        """What has been found so far."""
        return Result(self.spec, self.record)

    def check(self) -> None:
        """Refuse what cannot be run, before anything starts; imports neither torch nor ray for a built-in task."""
        check_components(self.spec)

    def run(
        self,
        *,
        engine: str | None = None,
        address: str | None = None,
        lanes: int | None = None,
        width: int | None = None,
        until: str | None = None,
        track: str | None = None,
        track_trials: str = "best",
        warm_start: str | Path | None = None,
        on_trial_end: OnTrialEnd | None = None,
        on_stage_end: OnStageEnd | None = None,
        quiet: bool | None = None,
    ) -> Result:
        """Run every stage that is not complete yet; a study that was interrupted goes on where it was.

        Args:
            engine: `ray`, `local` or `auto`; default: what the spec says, or what the study was begun with. With
                `auto`, or another than that, lanes, their width and threads are chosen anew.
            address: of a Ray cluster, also for a study that was begun in a process; None starts Ray on this machine.
            lanes, width: instead of what is found automatically.
            until: the last stage to run.
            track: `wandb` to log there.
            track_trials: trials that have runs of their own there: `best` (the ten best of the search, those of it that
                are raced, and the final models), `all` of search, race and final models, or `none`.
            warm_start: folder of another study of the same task, whose trials teach the search of this one from the
                start; they are read once, and none of them is counted as this study's. Or a folder of studies of
                any tasks, whose settings are tried first.
            on_trial_end: is called with a `TrialEnd` for each trial that ends while this runs.
            on_stage_end: is called with a `StageEnd` for each stage that is complete. Both are called in the thread
                that runs the study, wherever lanes are; what one raises ends the study, which can be resumed.
            quiet: whether nothing is said of its progress; None: it is said in a notebook alone.

        Raises:
            LabError: see `lab.errors`; `Interrupted` after Ctrl-C, when everything has been saved.
        """
        callbacks = Callbacks(self.record, on_trial_end, on_stage_end)
        teacher = None if warm_start is None else _path("warm_start", warm_start)
        self._adopt()
        if self.spec.task.kind == OWN_LOOP:
            said = "is trained by a loop of one's own: study.ask(), study.tell() and at last study.conclude()"
            raise SpecError("task.kind", f"{OWN_LOOP!r} {said}")
        self.spec = with_flags(self.spec, engine, lanes, width, address)
        asked = stages_until(until)
        fresh = is_fresh(self.record.folder)
        which = trials_tracked(track_trials)
        if track:
            check_service(track)
            if which != "none":
                self.spec = self.spec.changed(execution={"epoch_metrics": True})
        with self.record.driver_lock(), Display(quiet) as display, stop_on_interrupt(display):
            with undone_if_refused(self.record.folder, fresh):
                ahead = [stage for stage in asked if stage.read(self.record) is None]
                doubts = self._settle(display, bool(ahead))
                if teacher is not None:  # what trials are ranked by is settled
                    from lab.stages import warm_start as warm

                    display.say(f"warm      {warm.begin(self.spec, self.record, teacher)}")
            for doubt in doubts:
                display.say(f"warning   {doubt}")
            self._display = display
            try:
                run = StagesRun(self.spec, self.record, display, callbacks, which if track else None, address, fresh)
                self.spec = run.through(ahead, is_whole=len(asked) == len(STAGES))
            finally:
                self._display = None
        return self.result

    def extend(
        self,
        trials: int = 0,
        *,
        space: Mapping[str, Dimension | Mapping[str, Any]] | None = None,
        **settings: Mapping[str, Any],
    ) -> Path:
        """Give the search more trials, also in a wider space; `run`, `ask` or `conclude` then go on, and conclude anew.

        Args:
            trials: how many more.
            space: the dimensions that become wider.
            settings: fields of the sections `until`, `confirm`, `final`, e.g. `final={"seeds": 5}`.

        Returns:
            The folder inside the study's that keeps what was concluded before.

        Raises:
            RecordError: there is no study yet, its ledger is damaged, or another process runs it.
            SpecError: something else would change, or old trials do not fit into it.
        """
        if isinstance(trials, bool) or not isinstance(trials, int) or trials < 0:
            raise SpecError("trials", f"{trials!r} is not a whole number of at least 0")
        have = Study.open(self.record.folder).spec.search.trials
        if space is not None and not isinstance(space, Mapping):
            raise SpecError("space", f"{space!r} is not a mapping of hyperparameters to dimensions")
        changes: dict[str, Any] = {"search.trials": have + trials}
        for name, dimension in (space or {}).items():
            changes[f"space.{name}"] = dump_dimension(parse_dimension(f"space.{name}", dimension))
        for section, fields in settings.items():
            if not isinstance(fields, Mapping):
                raise SpecError(section, f"{fields!r} is not a mapping of options to values")
            changes |= {f"{section}.{name}": value for name, value in fields.items()}
        return self.extend_to(changes)

    def extend_to(self, changes: Mapping[str, Any]) -> Path:
        """The same, by changes of the spec as `--set` has them; errors as there."""
        from lab.record.spec_file import read_spec
        from lab.study.extend import extend

        self.record.require()
        self.require_own()
        task = self.spec.task
        new = read_spec(self.record.spec_path, changes)
        new = new.model_copy(update={"task": replace(new.task, instance=task.instance, opened=task.opened)})
        check_components(new, begun=True)
        open_data(new, self.record)  # refuses what would stop the study after its conclusions were put aside
        aside = extend(self.record, new)
        self.spec, self._loop = new, None
        return aside

    def stop(self) -> bool:
        """Stop what `run` does, from a callback or another thread, as Ctrl-C does: running epochs are ended and saved,
        and `run` raises `Interrupted`.

        Returns:
            Whether anything ran.
        """
        display = self._display
        if display is not None:
            display.stop_asked = True
        return display is not None

    def enqueue(self, setting: Mapping[str, Any]) -> None:
        """Have a setting tried before anything is proposed, such as what a paper or last year's model has.

        It is one of the search's trials like any other, and may be confirmed. What it leaves out the sampler proposes.
        One that was enqueued before stays as it is, so that a script may be run again. It is taken up when the study
        runs next, or at the next `ask`.

        Raises:
            SpecError: it is no setting of this space.
        """
        from lab.study.own_loop import WAIT_S

        params = enqueued.checked(with_undecided(self.spec, load=False).space, setting)
        if explore.STAGE.is_complete(self.record):
            raise StudyError("enqueue: the search is complete; extend the study by more trials first")
        self._enqueued.append(params)
        if self._loop is not None:
            with self.record.driver_lock(WAIT_S):
                self._keep_enqueued()

    def ask(self) -> Asked | None:
        """A trial for a loop of one's own to train; None where the search has no more.

        The search's sampler proposes it. Trials are kept in the study's folder as those that lanes train: `run` goes on
        with them, where the study has a task that lanes can train. One that a process of this machine asked for and did
        not tell of before it ended is handed out again, to whoever asks next; several processes may share a study.
        Where `search.concurrency` is not given, a proposal is made from whatever was told of by then.

        Raises:
            SpecError: the range test has to run first.
            StudyError: too many trials failed, or as many are open as may be.
        """
        return self._own_loop().ask()

    def report(self, trial: Asked | int, epoch: int, score: float) -> bool:
        """Tell of a score after an epoch of a trial that was asked for; its curve is kept, and the pruner sees it.

        Returns:
            Whether it goes on; one that is pruned has ended, and needs no `tell`.

        Raises:
            SpecError: the trial is not open, or what is told cannot be.
        """
        return self._own_loop().report(trial, epoch, score)

    def tell(
        self,
        trial: Asked | int,
        score: float | None = None,
        *,
        metrics: Mapping[str, float] | None = None,
        outcome: str | None = None,
        detail: str = "",
    ) -> None:
        """Tell of a trial's end.

        Args:
            trial: what `ask` gave, or its number.
            score: a number that is not finite says that it diverged, which teaches the sampler too.
            metrics: what else was measured; columns of `result.trials`.
            outcome: `completed`, `diverged`, `failed`, `out of memory` or `pruned`, where no score says so.
            detail: why.

        Raises:
            SpecError: the trial is not open, or what is told cannot be.
        """
        self._own_loop().tell(trial, score, metrics, outcome, detail)

    def conclude(self) -> Result:
        """End a search by a loop of one's own: what it found, the response, the page. `run` goes on from there, where
        the study has a task that lanes can train.

        Raises:
            StudyError: no trial completed.
        """
        from lab.report.page import write_report
        from lab.study.own_loop import conclude

        self._adopt()
        if not self.record.begun:
            raise StudyError(f"{self.record.folder}: nothing was asked for yet, so there is nothing to conclude")
        with self.record.driver_lock():
            stages: tuple[Stage[Any], ...] = (bounds.STAGE, explore.STAGE, explain.STAGE)
            for stage in stages:
                if stage.read(self.record) is None:
                    nobody: Any = None  # trains anything: these stages look at no engine here
                    searched = stage is explore.STAGE
                    ended = conclude(self.spec, self.record) if searched else stage.run(self.spec, self.record, nobody)
                    stage.write(self.record, ended)
            write_trials(self.spec, self.record, TRAINS)
            write_report(self.spec, self.record)
        return self.result

    def _own_loop(self) -> OwnLoop:
        from lab.study.own_loop import WAIT_S, OwnLoop

        if self._loop is None:
            self._adopt()
            if self.spec.space.needs_bounds and bounds.STAGE.if_any(self.record) is None:
                said = "is to be found by the range test; run(until='bounds') first, or give low and high"
                raise SpecError("space.max_lr", said)
            if not self.record.begun and self.spec.search.concurrency == "auto":
                self.spec = self.spec.changed(search={"concurrency": None})  # a loop has as many open as it likes
            fresh = is_fresh(self.record.folder)
            with self.record.driver_lock(WAIT_S), Display(quiet=True) as display:
                # Another process of the loop may have begun it meanwhile.
                with undone_if_refused(self.record.folder, fresh and not self.record.exists()):
                    self._settle(display, ahead=True)
            self._loop = OwnLoop(self.spec, self.record)
        return self._loop

    def _adopt(self) -> None:
        """Go on with what the folder holds, where it has begun; refuse what cannot be gone on with."""
        self._loop = None
        self.spec = adopted(self.spec, self.record)

    def _settle(self, display: Display, ahead: bool) -> tuple[str, ...]:
        self.spec, doubts = settle(self.spec, self.record, self._files, display.say, ahead)
        self._keep_enqueued()
        return doubts

    def _keep_enqueued(self) -> None:
        enqueued.add(self.record, self.spec.space, self._enqueued)
        self._enqueued.clear()


def _folder(folder: str | Path | None, name: str) -> Path:
    """Where a study lies: `runs/<name>` where nothing else is said."""
    return _path("folder", folder) if folder else Path("runs") / name


def _path(argument: str, value: str | Path) -> Path:
    if not isinstance(value, (str, Path)):
        raise SpecError(argument, f"{value!r} is not the path of a folder")
    return Path(value)
