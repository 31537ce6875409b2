"""Live progress: the stages with their bars on a terminal, plain lines in a log and in a notebook."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from lab.errors import plain
from lab.report.cost import duration
from lab.spec.exchange import Progress
from lab.spec.space import Params, Value
from lab.spec.trial import Outcome
from lab.stages import refit
from lab.study.live_view import StageView, stages_view

_LOG_EVERY_S = 10.0


class Display:
    """Shows where a study is; also what an engine's watch calls, to learn whether to go on.

    Args:
        quiet: whether nothing is said; None: unless a notebook runs it.
    """

    def __init__(self, quiet: bool | None = False) -> None:
        self._console = Console(file=sys.stderr)
        self._quiet = not in_notebook() if quiet is None else quiet
        self._live = Live(console=self._console, refresh_per_second=5, transient=True) if self._rich else None
        self._plan: Mapping[str, int] = {}
        """Epochs of each stage that is ahead, at most; 0 where it trains none."""
        self._names: Sequence[str] = ()
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

    def plan(self, names: Sequence[str], ahead: Mapping[str, int]) -> None:
        """Show these stages from now on.

        Args:
            ahead: of those that are not complete, the epochs that they train at most.
        """
        self._names, self._plan = names, ahead

    def stage(self, name: str) -> None:
        """A stage begins; those before it are complete."""
        self._stage, self._began, self._logged = name, time.monotonic(), time.monotonic() - _LOG_EVERY_S
        self._from_epochs = -1
        if self._live and self._names:
            self._live.update(self._view(0.0, ""))

    def watch(self, progress: Progress) -> bool:
        """Show progress; False once the user has asked to stop."""
        now = time.monotonic()
        if progress.stage != self._stage:
            self.stage(progress.stage)
        if self._from_epochs < 0:
            self._from_epochs, self._began = progress.epochs_done, now
        pace_s = self._pace_s(progress, now)
        left_s = None if pace_s is None else pace_s * max(progress.epochs_planned - progress.epochs_done, 0)
        later_s = None if pace_s is None else pace_s * self._later()
        line = describe(progress, left_s, later_s)
        if self._live and self._names:
            whole = max(progress.epochs_planned, 1)
            self._live.update(self._view(min(progress.epochs_done / whole, 1.0), line))
        elif self._live:
            self._live.update(Text(f"{progress.stage:9} {line}"))
        elif not self._quiet and now - self._logged >= _LOG_EVERY_S:
            self._logged = now
            self.say(f"{progress.stage:9} {line}")
        return not self.stop_asked

    def _pace_s(self, progress: Progress, now: float) -> float | None:
        """Seconds of an epoch of all lanes together; None before there is one."""
        done = progress.epochs_done - self._from_epochs
        return (now - self._began) / done if done > 0 else None

    def _later(self) -> int:
        """Epochs of the stages behind the one that runs, at most."""
        if self._stage not in self._names:
            return 0
        return sum(self._plan.get(name, 0) for name in self._names[self._names.index(self._stage) + 1 :])

    def _view(self, share: float, line: str) -> RenderableType:
        here = self._names.index(self._stage) if self._stage in self._names else 0
        views = [
            StageView(
                name,
                share=share if i == here else float(i < here or name not in self._plan),
                running=i == here,
                said=line if i == here else "",
            )
            for i, name in enumerate(self._names)
        ]
        return stages_view(views)


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


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this process, as IPython says it."""
    shell = sys.modules.get("IPython")
    current = None if shell is None else shell.get_ipython()
    return type(current).__name__ == "ZMQInteractiveShell"


def describe(progress: Progress, left_s: float | None, later_s: float | None = None) -> str:
    """One line: trials by outcome, best so far with its setup, time left.

    Args:
        left_s: for this stage.
        later_s: for those behind it; nothing is said of them where there are none.
    """
    counts = progress.counts
    parts = [f"{progress.closed}/{progress.planned} trials, {progress.running} running"]
    parts += [f"{n} {name}" for name, n in counts.items() if n and name != Outcome.COMPLETED]
    if left_s is not None and not progress.finished:
        study = f" ({duration(left_s + later_s)} for the study)" if later_s else ""
        parts.append(f"{duration(left_s)} left{study}")
    if progress.stage != refit.STAGE.name:  # whose score is a training loss
        parts += _best_so_far(progress.best, progress.best_params)
    return ", ".join(parts)


def _best_so_far(score: float | None, params: Params | None) -> list[str]:
    """The best score with its setup; nothing where there is none yet."""
    if score is None:
        return []
    setup = ", ".join(f"{name} {_short(value)}" for name, value in (params or {}).items())
    return [f"best {score:.4g}" + (f" ({setup})" if setup else "")]


def _short(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
