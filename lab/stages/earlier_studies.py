"""What other studies ended with, tried first by a new one: what was best on like work is seldom bad.

A study of another task teaches nothing by its scores, which mean something else. The setting that it ended with is
worth a trial all the same (`reports/earlier_studies`). The search goes on from them as from any trial, so they fade by
themselves.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from lab.errors import RecordError, SpecError
from lab.record.folder import Record, records_in
from lab.spec.search import SearchSpec
from lab.spec.space import Params, Space
from lab.stages import confirm, enqueued, explore

_MOST = 10
"""As many as a cold search begins with from a Sobol sequence, whose turn they take."""


@dataclass(frozen=True)
class Earlier:
    """A study of a folder, and what of its setting the new space has."""

    folder: Path
    setting: Params


def holds_studies(folder: Path) -> bool:
    """Whether a folder is no study itself and has some in it."""
    return folder.is_dir() and not Record(folder).exists() and bool(records_in(folder))


def earlier_in(folder: Path, space: Space, search: SearchSpec, own: Record) -> tuple[Earlier, ...]:
    """The last studies of a folder that have a setting for this space, each setting once, the last one first.

    Args:
        own: the new study, which may lie there too.
    """
    earlier: list[Earlier] = []
    for record in sorted(records_in(folder), key=_ended_at, reverse=True):
        best = None if record.folder.resolve() == own.folder.resolve() else _best_of(record)
        setting = {} if best is None else _within(space, best)
        if setting and setting not in [one.setting for one in earlier]:
            earlier.append(Earlier(record.folder, setting))
    return tuple(earlier[: min(_MOST, search.quarter)])


def _ended_at(record: Record) -> float:
    """When its search was over, or 0."""
    path = record.artefact_path(explore.STAGE.name)
    return path.stat().st_mtime if path.exists() else 0.0


def _best_of(record: Record) -> Params | None:
    """What was confirmed, else the best trial; None where there is neither, or it cannot be read."""
    with contextlib.suppress(RecordError):  # another study's damage is no matter of this one
        if (confirmed := confirm.STAGE.if_any(record)) is not None:
            return confirmed.chosen.one_cycle.params
    with contextlib.suppress(RecordError):
        if (explored := explore.STAGE.if_any(record)) is not None:
            return explored.params
    return None


def _within(space: Space, params: Params) -> Params:
    """What of a setting can be tried in a space; the sampler proposes the rest."""
    setting: Params = {}
    for name in space:  # parents come before what hangs on them
        if name in params:
            try:
                setting = enqueued.checked(space, {**setting, name: params[name]})
            except SpecError:
                continue
    return setting
