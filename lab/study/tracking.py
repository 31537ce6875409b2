"""Logging a study elsewhere, which neither ends nor holds up the study."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, Protocol, TypeAlias, cast, get_args

from lab.errors import SpecError
from lab.record.folder import Record
from lab.report.wandb_runs.trial_runs import Which
from lab.spec.study import StudySpec
from lab.stages import STAGES
from lab.stages.stage import Skipped, Stage

_LONGEST = 150
"""Letters of what a service says."""
_EVERY_S = 2.0
_LEAVE_WITHIN_S = 5.0
"""Seconds that a service is waited for when the user stops the study. What it has not taken by then is logged when the
study goes on."""
_GLANCE_S = 0.2
"""Seconds between two looks at whether the user wants to stop."""


class Logger(Protocol):
    """Logs a study. Any of its methods may raise anything, or never return."""

    @property
    def where(self) -> str:
        """Where it is looked at."""
        ...

    def look(self) -> None:
        """Log what the record has come to meanwhile."""

    def stage(self, stage: Stage[Any], artefact: Any | Skipped) -> None:
        """A stage is complete."""

    def finish(self, record: Record) -> None:
        """The study is complete, or ends behind the stage that it was to end with."""

    def leave(self) -> None:
        """The study stops in the middle of a stage."""


_Call: TypeAlias = Callable[[Logger], None]


def trials_tracked(which: str) -> Which:
    """Which trials are to have runs of their own.

    Raises:
        SpecError: there is no such choice.
    """
    if which not in get_args(Which):
        raise SpecError("--track-trials", f"{which!r} is unknown; choices: {', '.join(get_args(Which))}")
    return cast(Which, which)


def check_service(name: str) -> None:
    """Refuse what a study cannot be logged to.

    Raises:
        SpecError: there is no such service, or it is not open to this user.
    """
    if name != "wandb":
        raise SpecError("--track", f"{name!r} is unknown; choices: wandb")
    from lab.report.wandb_runs.service import check_wandb

    check_wandb()


def wandb_tracker(
    spec: StudySpec, record: Record, which: Which, say: Callable[[str], None], stop_asked: Callable[[], bool]
) -> Tracker:
    """Log a study at W&B from now on."""
    from lab.report.wandb_runs.service import exit_without_waiting, patience_s
    from lab.report.wandb_runs.study_run import WandbTracker

    begin = partial(WandbTracker, spec, record, which)
    return Tracker(begin, say, record.folder, exit_without_waiting, patience_s(), stop_asked)


def in_a_line(error: Exception) -> str:
    """What a service has raised, as far as anybody reads it."""
    return ": ".join(filter(None, (type(error).__name__, " ".join(str(error).split())[:_LONGEST])))


def log_whole(record: Record, logger: Logger) -> None:
    """Log what a study has come to, at once."""
    for stage in STAGES:
        if stage.is_complete(record):
            logger.stage(stage, stage.complete(record))
    logger.finish(record)


class Tracker:
    """Logs a study for as long as that works, and says once when it works no more.

    A thread of its own does so: training waits for no server.

    Args:
        begin: makes the logger. It may raise anything.
        say: shows the user a line.
        folder: the study's.
        give_up: the service may be stuck from now on, and must not hold up the end of this process.
        patience_s: seconds that a service which does not answer is waited for when the study is complete.
        stop_asked: whether the user wants to stop.
    """

    def __init__(
        self,
        begin: Callable[[], Logger],
        say: Callable[[str], None],
        folder: Path,
        give_up: Callable[[], None],
        patience_s: float,
        stop_asked: Callable[[], bool],
    ) -> None:
        self._begin, self._say, self._folder = begin, say, folder
        self._give_up, self._patience_s, self._stop_asked = give_up, patience_s, stop_asked
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        """None: nothing more comes."""
        self._over = Event()
        """Nothing more is logged, or can be."""
        self._losing = Lock()
        Thread(target=self._log, name="tracking", daemon=True).start()

    def stage(self, stage: Stage[Any], artefact: Any | Skipped) -> None:
        self._calls.put(lambda logger: logger.stage(stage, artefact))

    def finish(self, record: Record) -> None:
        """Log the rest, and wait until it has gone out."""
        begin = time.monotonic()
        if not self._end(lambda logger: logger.finish(record), self._patience_s):
            self._lose(f"no answer for {time.monotonic() - begin:.0f} s")

    def leave(self) -> None:
        """Let go of a study that goes on another time; not wait for long."""
        if not self._end(lambda logger: logger.leave(), _LEAVE_WITHIN_S):
            with self._losing:  # without a word: what is left is logged when the study goes on
                self._give_up()
                self._over.set()

    def _end(self, call: _Call, within_s: float) -> bool:
        """Whether the call is over in time, which is short once the user wants to stop."""
        self._calls.put(call)
        self._calls.put(None)
        until, hurried = time.monotonic() + within_s, False
        while not self._over.wait(min(_GLANCE_S, max(until - time.monotonic(), 0))):
            if not hurried and self._stop_asked():
                until, hurried = min(until, time.monotonic() + _LEAVE_WITHIN_S), True
            if time.monotonic() >= until:
                return False
        return True

    def _lose(self, why: str) -> None:
        with self._losing:
            if self._over.is_set():  # the other thread has lost it
                return
            later = f"lab study report {shlex.quote(str(self._folder))} --to wandb"
            self._say(f"warning   tracking: {why}; the study goes on without it; catch up by: {later}")
            self._give_up()
            self._over.set()

    def _log(self) -> None:
        """What the thread does."""
        logger: Logger | None = None
        try:
            logger = self._begin()
            self._say(f"tracking  {logger.where}")
            while (call := self._next()) is not None:
                call(logger)
        except Exception as error:  # whatever is wrong with a service, the network or a key
            self._lose(in_a_line(error))
            if logger is not None:  # now, while the study goes on, and not when the process ends
                with contextlib.suppress(Exception):
                    logger.leave()
        finally:
            self._over.set()

    def _next(self) -> _Call | None:
        try:
            return self._calls.get(timeout=_EVERY_S)
        except Empty:
            return lambda logger: logger.look()
