"""One run of a study's stages, from the first that is not complete to the answer and the page."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from lab.errors import Interrupted, LabError, SpecError
from lab.lanes.engine import Engine
from lab.record.folder import Record
from lab.spec.study import StudySpec
from lab.stages import STAGES, TRAINS
from lab.stages.stage import Stage
from lab.study.callbacks import Callbacks, StageEnd
from lab.study.cost import steps_of, trainings
from lab.study.data import undone_if_refused
from lab.study.going_on import write_spec
from lab.study.progress import Display
from lab.study.results import Result, write_trials
from lab.study.tracking import Tracker, wandb_tracker
from lab.tasks.user_code import said_by

if TYPE_CHECKING:
    from lab.report.wandb_runs.trial_runs import Which


def stages_until(last: str | None) -> Sequence[Stage[Any]]:
    """The stages up to one, or all.

    Raises:
        SpecError: there is no such stage.
    """
    names = [stage.name for stage in STAGES]
    if last is not None and last not in names:
        raise SpecError("--until", f"{last!r} is unknown; choices: {', '.join(names)}")
    return STAGES if last is None else STAGES[: names.index(last) + 1]


@dataclass
class StagesRun:
    """Runs stages; its spec changes once, when lanes are opened."""

    spec: StudySpec
    record: Record
    display: Display
    callbacks: Callbacks
    which: Which | None
    """The trials that have runs of their own where the study is logged; None: it is not logged."""
    address: str | None
    """The Ray cluster's."""
    fresh: bool = False
    """Whether the study begins with this: then nothing is left of it where no lane can be opened."""

    def through(self, ahead: Sequence[Stage[Any]], *, is_whole: bool) -> StudySpec:
        """Run the stages, in order, and say what came of them.

        Args:
            is_whole: whether they end the study, which then has its page.

        Returns:
            The spec, with the lanes that were settled.

        Raises:
            LabError: a stage cannot go on; `Interrupted` where the user stops it.
        """
        display, tracker = self.display, None
        if self.which is not None:
            tracker = wandb_tracker(self.spec, self.record, self.which, display.say, lambda: display.stop_asked)
        epochs = trainings(self.spec, None)
        planned = {stage.name: epochs[stage.name].epochs if stage.trainings else 0 for stage in ahead}
        shown = [stage.name for stage in STAGES if stage.name in planned or stage.is_complete(self.record)]
        display.plan(shown, planned)
        try:
            self.callbacks.begin(self.spec.store)
            with contextlib.ExitStack() as stack:
                self._run(ahead, stack, tracker)
            self._say_answer()
            if is_whole:
                self._write_page()
            if tracker is not None:
                tracker.finish(self.record)
        except BaseException:
            if tracker is not None:
                tracker.leave()
            raise
        finally:
            self.callbacks.close()
        return self.spec

    def _run(self, ahead: Sequence[Stage[Any]], stack: contextlib.ExitStack, tracker: Tracker | None) -> None:
        display = self.display
        engine: Any = None  # until a stage trains: those before it look at none
        for stage in ahead:
            if display.stop_asked:
                raise Interrupted(f"stopped before stage '{stage.name}'; all before it is saved")
            begin = time.monotonic()
            display.stage(stage.name)
            if engine is None and stage.trainings:
                engine = self._open_lanes(stack)
            try:
                artefact = stage.write(self.record, stage.run(self.spec, self.record, engine))
            except Interrupted:
                self.callbacks.refuse()  # it was one of them that has ended it
                raise
            if stage.trainings:
                write_trials(self.spec, self.record, TRAINS)
            display.say(f"{stage.name:9} {time.monotonic() - begin:.1f} s: {stage.said(artefact)}")
            for line in getattr(artefact, "lacks", ()):
                display.say(f"warning   {line}")
            if tracker is not None:
                tracker.stage(stage, artefact)
            self.callbacks.stage(StageEnd(stage.name, stage.said(artefact), artefact, time.monotonic() - begin))

    def _open_lanes(self, stack: contextlib.ExitStack) -> Engine:
        from lab.lanes.speed.choose import open_lanes

        # The whole study counts, wherever it pauses this time: what is settled now holds when it goes on.
        stages = [stage.name for stage in STAGES if stage.trainings and stage.read(self.record) is None]
        ahead = partial(steps_of, self.spec, stages)
        display, watch = self.display, self.callbacks.watching(self.display.watch)
        with undone_if_refused(self.record.folder, self.fresh and not self.record.begun):
            engine, spec = open_lanes(self.spec, self.record, watch, display.say, self.address, ahead)
        stack.callback(engine.close)
        self.spec = write_spec(spec, self.record)
        display.say(f"trials    in a browser: lab study dashboard {shlex.quote(str(self.record.folder))}")
        return engine

    def _say_answer(self) -> None:
        """Say what has been found; nothing that was trained depends on it."""
        from lab.report.summary import summary_lines

        try:
            for line in summary_lines(Result(self.spec, self.record).summary):
                self.display.say(line)
        except Exception as error:
            said = f"what was found cannot be summed up ({said_by(error)}); lab study show tries again"
            self.display.say(f"warning   {said}")

    def _write_page(self) -> None:
        try:
            from lab.report.page import write_report

            self.display.say(f"report    {write_report(self.spec, self.record)}")
        except LabError:
            raise
        except Exception as error:  # nothing that was trained depends on the page
            said = f"the report could not be written ({said_by(error)}); the study is complete"
            self.display.say(f"warning   {said}")
