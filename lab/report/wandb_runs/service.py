"""W&B's library as a study uses it: many runs at once in one process, without a word on the terminal."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from threading import TIMEOUT_MAX, Event, Thread
from typing import Any, TypeAlias

from lab.errors import SpecError, install_extra

Run: TypeAlias = Any
"""A `wandb.Run`, which has no usable types."""

_PATIENCE: Mapping[str, Any] = {"init_timeout": 30.0, "finish_timeout": 60.0, "finish_timeout_raises": True}
"""Seconds that a study waits for a server that does not answer, by W&B's settings. Versions do not have them all, and
a user may set others by `WANDB_INIT_TIMEOUT` and `WANDB_FINISH_TIMEOUT`."""
_LEAN: Mapping[str, Any] = {
    "x_disable_stats": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,  # to read the metadata of every package takes most of the time of a beginning
    "disable_git": True,
    "finish_timeout": 20.0,
}
"""The run of a trial says nothing of the machine, since the study's does, and has no large files to send."""
_CALLS = 4
"""A study that ends begins and finishes several runs. W&B is stuck where that takes as long as so many runs may."""
_EXIT_WITHIN_S = 5.0
"""Seconds for which a process whose logging has failed waits at its end for W&B's."""
_LOST = ("will not be synced", "Timed out finishing")
"""By which W&B says that what was logged does not reach the server. It raises nothing then."""


class DataLost(RuntimeError):  # noqa: N818 - what was logged is lost to the server alone
    """W&B has taken what was logged, and given up on sending it."""


def check_wandb() -> None:
    """Refuse to log before anything is begun.

    Raises:
        SpecError: wandb is not installed, or neither a key nor offline mode is set.
    """
    try:
        import wandb  # noqa: F401
    except ImportError:
        raise SpecError("--track", f"wandb is not installed; {install_extra('wandb')}") from None
    if not is_offline() and not _has_key():
        raise SpecError("--track", "W&B has no key; run 'wandb login', set WANDB_API_KEY, or WANDB_MODE=offline")


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    netrc = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    return netrc.exists() and "wandb" in netrc.read_text(encoding="utf-8", errors="replace")


class Service:
    """Begins runs, and knows when what they log is lost.

    Args:
        folder: of the study; W&B keeps what it sends below it.
        group: of all its runs.
    """

    def __init__(self, folder: Path, group: str) -> None:
        import wandb
        from wandb.errors import term

        folder.mkdir(parents=True, exist_ok=True)
        self._wandb, self._term = wandb, term
        self._folder, self._group = folder, group
        self._said = _Said()
        wandb.setup()  # first, since it makes the terminal its own
        term.termsetup(wandb.Settings(silent=True), self._said)
        # Its telemetry would complain on the terminal, where nobody has set up logging, of a server that refuses.
        logging.getLogger("opentelemetry").addHandler(logging.NullHandler())

    def begin(
        self, run_id: str, name: str, job_type: str, tags: Sequence[str], config: Mapping[str, Any], lean: bool = False
    ) -> Run:
        """A run, which goes on where it is there already. Any number of them may be open."""
        settings = {"silent": True, "console": "off", **_PATIENCE, **(_LEAN if lean else {})}
        open_ = [name for name in settings if f"WANDB_{name.upper()}" not in os.environ]
        supported = {name: settings[name] for name in open_ if name in self._wandb.Settings.model_fields}
        return self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", "lab"),
            name=name,
            group=self._group,
            job_type=job_type,
            tags=list(tags),
            id=run_id,
            resume="allow",
            reinit="create_new",
            dir=str(self._folder),
            config=dict(config),
            settings=self._wandb.Settings(**supported),
        )

    def check(self) -> None:
        """Refuse to go on once something was lost.

        Raises:
            DataLost: in W&B's words.
        """
        if self._said.lost:
            raise DataLost(self._said.lost)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Any:
        return self._wandb.Table(columns=list(columns), data=[list(row) for row in rows], allow_mixed_types=True)

    def page(self, html: str) -> Any:
        return self._wandb.Html(html, inject=False)

    def artifact(self, name: str, kind: str, files: Sequence[Path]) -> Any:
        artifact = self._wandb.Artifact(name, type=kind)
        for file in files:
            artifact.add_file(str(file), name=file.name)
        return artifact

    def close(self) -> None:
        """Give the terminal back to W&B, for runs that are not the study's."""
        self._term.termsetup(self._wandb.setup().settings, None)


def patience_s() -> float:
    """Seconds after which W&B is stuck, and not just slow: its own limits would have ended the call."""
    return min(_CALLS * sum(_limit_s(name) for name in ("init_timeout", "finish_timeout")), TIMEOUT_MAX)


def _limit_s(name: str) -> float:
    try:
        limit_s = float(os.environ[f"WANDB_{name.upper()}"])
    except (KeyError, ValueError):
        return float(_PATIENCE[name])
    return limit_s if limit_s > 0 else TIMEOUT_MAX  # to W&B, 0 is no limit


def exit_without_waiting() -> None:
    """Have this process end although W&B's does not.

    W&B waits at the end of a process until its own has ended, without a limit. That one may try to reach a server for
    hours once the beginning of a run has failed.
    """
    ends, torn_down = Event(), Event()

    def tear_down() -> None:
        ends.wait()
        with contextlib.suppress(BaseException):  # it exits with the code of its process
            import wandb

            wandb.teardown()
        torn_down.set()

    def end() -> None:
        ends.set()
        torn_down.wait(_EXIT_WITHIN_S)

    # The thread begins now, since no thread may while an interpreter ends. What is registered last is called first.
    Thread(target=tear_down, name="wandb teardown", daemon=True).start()
    atexit.register(end)


class _Said:
    """Takes what W&B would print."""

    def __init__(self) -> None:
        self.lost = ""

    def info(self, message: str) -> None:
        """Nothing of interest."""

    def warning(self, message: str) -> None:
        if any(words in message for words in _LOST):
            self.lost = self.lost or message.removeprefix("wandb: ").removeprefix("WARNING ")

    error = warning


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing that W&B would print meanwhile is printed."""
    import wandb
    from wandb.errors import term

    wandb.setup()
    term.termsetup(wandb.Settings(silent=True), None)
    try:
        yield
    finally:
        term.termsetup(wandb.setup().settings, None)


def is_offline() -> bool:
    """Whether what is logged stays on this machine."""
    return os.environ.get("WANDB_MODE", "") in ("offline", "disabled", "dryrun")


def where_to(run: Run) -> str:
    """What tells one server's project from another's, so that what went to one is not taken to be in the other."""
    return "offline" if run.offline else f"{run.settings.base_url}/{run.entity}/{run.project}"
