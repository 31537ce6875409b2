"""The live status of a running study: a small file in the study folder."""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.errors import RecordError
from lab.record.folder import write_json
from lab.spec.exchange import Progress

NAME = "lanes/now.json"
_EVERY_S = 2.0
_WINDOW_S = 300.0


class LiveStatus:
    """Writes the stage's progress, its lanes, and trials and epochs per minute, every two seconds."""

    def __init__(self) -> None:
        self._written_at = -_EVERY_S
        self._seen: deque[tuple[float, str, int, int]] = deque()

    def write(
        self,
        folder: Path,
        progress: Progress,
        lanes: Sequence[Mapping[str, Any]],
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the status, unless it was written less than two seconds ago.

        A full disk raises nothing here: the writers of trials and artefacts report it.
        """
        now = time.monotonic()
        if now - self._written_at < _EVERY_S and not progress.finished:
            return
        self._written_at = now
        self._seen.append((now, progress.stage, progress.closed, progress.epochs_done))
        while self._seen[0][1] != progress.stage or now - self._seen[0][0] > _WINDOW_S:
            self._seen.popleft()
        then, _, closed, epochs = self._seen[0]
        minutes = (now - then) / 60
        per_minute = {
            "trials_per_minute": (progress.closed - closed) / minutes if minutes else None,
            "epochs_per_minute": (progress.epochs_done - epochs) / minutes if minutes else None,
        }
        value = {
            "written_at": time.time(),
            "driver": {"host": socket.gethostname(), "process": os.getpid()},
            "stage": progress.stage,
            "trials": {"closed": progress.closed, "planned": progress.planned, "running": progress.running},
            "epochs": {"done": progress.epochs_done, "planned": progress.epochs_planned},
            "best": progress.best,
            "best_params": None if progress.best_params is None else dict(progress.best_params),
            "repeated_epochs": progress.repeated,
            **per_minute,
            "lanes": list(lanes),
            **(more or {}),
        }
        try:
            write_json(folder / NAME, value)
        except RecordError:
            return
