"""Live progress: a rich line on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from lab.errors import plain
from lab.spec.exchange import Progress
from lab.spec.trial import Outcome

_LOG_EVERY_S = 10.0


class Display:
    """Shows where a study is; also what an engine's watch calls, to learn whether to go on."""

    def __init__(self, quiet: bool = False) -> None:
        self._console = Console(file=sys.stderr)
        self._quiet = quiet
        self._live = Live(console=self._console, refresh_per_second=5, transient=True) if self._rich else None
        self._stage = ""
        self._began = self._logged = time.monotonic()
        self._from_epochs = 0
        self.stop_asked = False
        self._log = logged(self.say)

    @property
    def _rich(self) -> bool:
        return self._console.is_terminal and not self._quiet

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        self._log.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.__exit__(kind, error, trace)
        if self._live:
            self._live.stop()

    def say(self, line: str) -> None:
        """One line that stays."""
        if not self._quiet:
            self._console.print(Text(plain(line)), soft_wrap=True)

    def watch(self, progress: Progress) -> bool:
        """Show progress; False once the user has asked to stop."""
        now = time.monotonic()
        if progress.stage != self._stage:
            self._stage, self._began, self._logged = progress.stage, now, now - _LOG_EVERY_S
            self._from_epochs = progress.epochs_done
        line = describe(progress, self._left_s(progress, now))
        if self._live:
            self._live.update(Text(line))
        elif not self._quiet and now - self._logged >= _LOG_EVERY_S:
            self._logged = now
            self.say(line)
        return not self.stop_asked

    def _left_s(self, progress: Progress, now: float) -> float | None:
        done = progress.epochs_done - self._from_epochs
        if done <= 0:
            return None
        return (now - self._began) / done * max(progress.epochs_planned - progress.epochs_done, 0)


@contextlib.contextmanager
def logged(say: Callable[[str], None]) -> Iterator[None]:
    """Say what the package logs meanwhile: that something goes on which takes long."""
    log, handler = logging.getLogger("lab"), _Handler(say)
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(before)
        log.removeHandler(handler)


class _Handler(logging.Handler):
    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(record.getMessage())


def describe(progress: Progress, left_s: float | None) -> str:
    """One line: stage, trials by outcome, best so far, time left."""
    counts = progress.counts
    parts = [f"{progress.closed}/{progress.planned} trials", f"{progress.running} running"]
    parts += [f"{counts.get(str(o), 0)} {o}" for o in (Outcome.PRUNED, Outcome.DIVERGED)]
    parts += [f"{n} {name}" for name, n in counts.items() if name in ("failed", "out of memory", "preempted")]
    if progress.best is not None:
        parts.append(f"best {progress.best:.4g}")
    if left_s is not None and not progress.finished:
        parts.append(f"{left_s:.0f} s left")
    return f"{progress.stage:9} " + ", ".join(parts)
