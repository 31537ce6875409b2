"""Logging a study elsewhere, which neither ends nor holds up the study."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from lab.record.folder import Record
from lab.stages import STAGES
from lab.stages.stage import Skipped, Stage

_LONGEST = 200
"""Letters of what a service says."""


class Logger(Protocol):
    """Logs a study. Any of its methods may raise anything."""

    @property
    def where(self) -> str:
        """Where it is looked at."""
        ...

    def stage(self, stage: Stage[Any], artefact: Any | Skipped) -> None:
        """A stage is complete."""

    def finish(self, record: Record) -> None:
        """The study is complete, or pauses."""


def in_a_line(error: Exception) -> str:
    """What a service has raised, as far as anybody reads it."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:_LONGEST]}"


def log_whole(record: Record, logger: Logger) -> None:
    """Log what a study has come to, at once."""
    for stage in STAGES:
        if stage.is_complete(record):
            logger.stage(stage, stage.complete(record))
    logger.finish(record)


class Tracker:
    """Logs a study for as long as that works, and says once when it works no more.

    Args:
        begin: makes the logger. It may raise anything.
        say: shows the user a line.
    """

    def __init__(self, begin: Callable[[], Logger], say: Callable[[str], None]) -> None:
        self._say = say
        self._logger: Logger | None = self._tried(begin)
        self._do(lambda logger: say(f"tracking  {logger.where}"))

    def stage(self, stage: Stage[Any], artefact: Any | Skipped) -> None:
        self._do(lambda logger: logger.stage(stage, artefact))

    def finish(self, record: Record) -> None:
        self._do(lambda logger: logger.finish(record))

    def _do(self, call: Callable[[Logger], None]) -> None:
        logger = self._logger
        if logger is not None:
            self._tried(lambda: call(logger))

    def _tried(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:  # whatever is wrong with a service, the network or a key
            self._logger = None
            self._say(f"warning   tracking: {in_a_line(error)}; the study goes on without it")
            return None
