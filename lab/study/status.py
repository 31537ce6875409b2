"""Where a study is, for people and for programs."""

from __future__ import annotations

import contextlib
import shlex
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lab.errors import RecordError, plain
from lab.lanes.live_status import NAME
from lab.record.folder import read_json
from lab.record.trials import failures, read_stages
from lab.spec.exchange import Progress
from lab.spec.plan import OWN_LOOP
from lab.spec.trial import Outcome
from lab.stages import STAGES, TRAINS
from lab.study.live_view import StageView, stages_view
from lab.study.progress import describe
from lab.study.study import Study

_MOST_REASONS = 3
_FRESH_S = 15.0
"""What a driver has not written anew for so long is not what happens now."""

_PATIENCE_S = 120.0
"""After so long without a word, a driver on another machine is taken for one that has ended."""


@dataclass(frozen=True)
class StageStatus:
    """Where a stage is."""

    state: Literal["complete", "begun", "not begun"]
    trials: Mapping[str, int]
    """By outcome; `waiting or running` are those that have none."""
    scores: tuple[float, float] | None
    """The least and the largest score of a completed trial."""
    failures: Sequence[str] = ()
    """Reasons why trials failed, with their counts, the most frequent first."""
    found: str | None = None
    """What the stage came to, in a few words; null until it is complete."""


@dataclass(frozen=True)
class Status:
    """Where a study is."""

    name: str
    folder: str
    complete: bool
    planned_trials: int
    """Trials that the search is to have."""
    own_loop: bool
    """Whether a loop of the user's own trains it, and no command."""
    stages: Mapping[str, StageStatus]
    now: Mapping[str, Any] | None
    """What its driver last said of stage, trials, pace and lanes; null where it does not run."""


def status_of(study: Study) -> Status:
    """Each stage's state, its trials by outcome, and the best score so far."""
    stages: dict[str, StageStatus] = {}
    trials = read_stages(study.record, TRAINS, study.spec.store)
    for stage in STAGES:
        artefact = stage.read(study.record)
        rows = trials.get(stage.name, [])
        counts = Counter("waiting or running" if row.outcome is None else str(row.outcome) for row in rows)
        scores = [row.score for row in rows if row.score is not None]
        stages[stage.name] = StageStatus(
            state="complete" if artefact is not None else ("begun" if rows else "not begun"),
            trials=dict(counts),
            scores=(min(scores), max(scores)) if scores else None,
            failures=failures(rows),
            found=None if artefact is None else stage.said(artefact),
        )
    complete = all(stage.state == "complete" for stage in stages.values())
    return Status(
        name=study.spec.name,
        folder=str(study.record.folder),
        complete=complete,
        planned_trials=study.spec.search.trials,
        own_loop=study.spec.task.kind == OWN_LOOP,
        stages=stages,
        now=None if complete else now_of(study),
    )


def now_of(study: Study) -> dict[str, Any] | None:
    """What the study's driver last said of its lanes, while it runs; None when it does not."""
    try:
        now = read_json(study.record.folder / NAME)
    except RecordError:
        return None
    try:
        describe_now(now)
        age_s = time.time() - float(now["written_at"])
        return now if 0 <= age_s <= _FRESH_S and _may_live(now["driver"]) else None
    except (LookupError, TypeError, ValueError, AttributeError):  # it is damaged, or another version's
        return None


def _is_run(study: Study, unseen_s: float) -> bool:
    """Whether anybody may run it who says nothing of it just now: lanes are being opened, say, or it is explained.

    Args:
        unseen_s: since when nobody has said anything of it.
    """
    driver = study.record.last_driver()
    if driver is None:
        return False
    host, process = driver
    # Whether a process elsewhere lives, nobody here knows.
    return _may_live({"host": host, "process": process}) and (host == socket.gethostname() or unseen_s < _PATIENCE_S)


def _may_live(driver: Mapping[str, Any]) -> bool:
    """False where its process was on this machine and is no more."""
    return driver.get("host") != socket.gethostname() or Path(f"/proc/{driver.get('process')}").exists()


def describe_status(status: Status) -> str:
    """The same as lines of text."""
    lines = [f"{status.name} in {status.folder}: {'complete' if status.complete else 'not complete'}"]
    for stage, entry in status.stages.items():
        trials = ", ".join(f"{n} {outcome}" for outcome, n in entry.trials.items())
        scores = f"; scores {entry.scores[0]:.4g} to {entry.scores[1]:.4g}" if entry.scores else ""
        headline = entry.found or ""
        lines.append(f"  {stage:9} {entry.state:9} {headline or trials}{scores if not headline else ''}".rstrip())
        lines += [f"            {reason}" for reason in entry.failures[:_MOST_REASONS]]
    return plain("\n".join([*lines, *_around(status)]))


def _around(status: Status) -> list[str]:
    """Lines on who runs it, or how it goes on."""
    if status.now:
        browser = f"trials    in a browser: lab study dashboard {shlex.quote(status.folder)}"
        return [*describe_now(status.now), browser]
    if not status.complete and not status.own_loop:
        return [f"resume with: lab study resume {shlex.quote(status.folder)}"]
    return []


def watch_status(study: Study, every_s: float = 2.0) -> None:
    """Show where a study is until it is complete, nobody runs it any more, or Ctrl-C; reads the trials less often the
    longer that takes. A loop of one's own has nobody who runs it."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    console = Console()
    last, seen, nobody = "", time.monotonic(), False
    with contextlib.suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            began = time.monotonic()
            status = status_of(study)
            text = Text("\n".join([f"{status.name} in {status.folder}", *_around(status)]))
            live.update(Group(stages_view(views_of(status)), text), refresh=True)
            if not console.is_terminal and not status.complete and (now := describe_status(status)) != last:
                console.print(Text(now))
                last = now
            seen = began if status.now is not None else seen
            nobody = status.now is None and not status.own_loop and not _is_run(study, began - seen)
            if status.complete or nobody:
                break
            time.sleep(max(every_s, 5 * (time.monotonic() - began)))
    console.print(Text(describe_status(status)))
    if nobody and not status.complete:
        console.print(Text("nobody runs it, so there is nothing to watch"))


def views_of(status: Status) -> list[StageView]:
    """The stages as the terminal shows them that runs the study."""
    views = []
    for name, entry in status.stages.items():
        if status.now is not None and status.now["stage"] == name and entry.state != "complete":
            views.append(StageView(name, *_under_way(status.now)))
        else:
            said = plain(entry.found) if entry.found else ""
            views.append(StageView(name, float(entry.state == "complete"), running=False, said=said))
    return views


def _under_way(now: Mapping[str, Any]) -> tuple[float, bool, str]:
    """The share that is done, that it runs, and the line of whoever runs it; an earlier version's said less."""
    trials, epochs = now["trials"], now.get("epochs") or {"done": 0, "planned": 0}
    progress = Progress(
        stage=now["stage"],
        planned=trials["planned"],
        counts={Outcome.COMPLETED: trials["closed"]},
        running=trials["running"],
        epochs_done=epochs["done"],
        epochs_planned=epochs["planned"],
        best=now.get("best"),
        finished=False,
        best_params=now.get("best_params"),
    )
    left, pace = progress.epochs_planned - progress.epochs_done, now.get("epochs_per_minute")
    left_s = 60 * left / pace if pace and left > 0 else None
    return min(progress.epochs_done / max(progress.epochs_planned, 1), 1.0), True, describe(progress, left_s)


def describe_now(now: Mapping[str, Any]) -> list[str]:
    """Stage, pace, and each node with its lanes, as lines of text."""
    trials, driver, lanes = now["trials"], now["driver"], now["lanes"]
    pace = [
        f"{now[key]:.1f} {name}"
        for key, name in (("trials_per_minute", "trials/min"), ("epochs_per_minute", "epochs/min"))
        if now.get(key) is not None
    ]
    head = f"now       {now['stage']}: {trials['closed']}/{trials['planned']} trials, {trials['running']} running"
    lines = [", ".join([head, *pace]), f"driver    process {driver['process']} on {driver['host']}"]
    states = Counter(lane["state"] for lane in lanes)
    if lanes:
        by_state = ", ".join(f"{n} {state}" for state, n in states.items())
        lines.append(
            f"lanes     {by_state}; {now.get('restarts', 0)} restarts; {now['repeated_epochs']} epochs repeated"
        )
    if now.get("dashboard"):
        lines.append(f"dashboard http://{now['dashboard']}")
    for (host, address), count in Counter((lane["host"], lane["address"]) for lane in lanes).items():
        here = [lane for lane in lanes if (lane["host"], lane["address"]) == (host, address)]
        gpus = sorted({gpu for lane in here for gpu in lane["gpus"]})
        slots = sum(lane["slots"] for lane in here if lane["state"] == "working")
        more = f", GPUs {', '.join(gpus)}" if gpus else ""
        lines.append(f"  {host} ({address}): {count} lanes, {slots} trials at once{more}")
    return lines
