"""A run for each trial that is shown: begun while it trains, and finished once it has ended."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, TypeAlias

from lab.record.trials import TrialRow
from lab.report.wandb_runs.identity import Identity
from lab.report.wandb_runs.service import Run, Service
from lab.report.wandb_runs.trial_log import config_of, epochs_of, summary_of_trial, tags_of
from lab.spec.study import StudySpec
from lab.spec.trial import Outcome

Which: TypeAlias = Literal["best", "all", "none"]
"""Trials that have runs of their own. `best`: the ten best of the search, those of it that went to the race, and the
final models; `all`: every trial of search, race and final models."""

SHOWN = ("explore", "confirm", "final")
"""The stages whose trials may have runs: range tests train a part of an epoch, and a refit is not validated."""
MOST_OPEN = 16
"""Runs that are open at once. Each costs memory here and requests to the server; where more trials train at once, the
others are logged when they end."""
_GONE_ON = 130
"""The exit code of a run whose trial does not train just now, as of a program that was interrupted."""

_Key: TypeAlias = tuple[str, int]


class TrialRuns:
    """Runs of one study's trials.

    Args:
        where: they go, as `Identity` notes it.
        again: whether those are logged as well that have gone there whole before.
    """

    def __init__(
        self, spec: StudySpec, service: Service, identity: Identity, which: Which, where: str, again: bool
    ) -> None:
        self._spec, self._service, self._identity = spec, service, identity
        self._which, self._where = which, where
        self._sent = set() if again else set(identity.sent(where))
        self._best: frozenset[_Key] = frozenset()
        self._left: dict[_Key, TrialRow] = {}
        """Trials that are not logged to their ends."""
        self._open: dict[_Key, tuple[Run, int]] = {}
        """Runs, and how many epochs they have."""

    def choose(self, best: Collection[int]) -> None:
        """Say which trials of the search are the best."""
        self._best = frozenset(("explore", number) for number in best)

    def take(self, changed: Mapping[str, Sequence[TrialRow]]) -> None:
        """Log what has changed."""
        for stage in SHOWN:
            self._left |= {(stage, row.number): row for row in changed.get(stage, ())}
        shown = [key for key in sorted(self._left, key=_in_order) if self._is_shown(key)]
        before = len(self._sent)
        try:
            for key in sorted(shown, key=lambda key: self._left[key].outcome is None):  # those that make room first
                if self._left[key].outcome is not None:
                    self._end(key)
                elif key in self._open or len(self._open) < MOST_OPEN:
                    self._log(key)
        finally:
            if len(self._sent) > before:
                self._identity.note(self._where, self._sent)

    def close(self) -> None:
        """Finish the runs of trials that have not ended: they go on when the study does."""
        for key in list(self._open):
            self._finish(key, _GONE_ON)

    def _is_shown(self, key: _Key) -> bool:
        if self._which == "best":
            return key in self._best or key[0] == "final"
        return self._which == "all"

    def _end(self, key: _Key) -> None:
        row = self._left[key]
        run_id = self._identity.trial(key[0], row)
        if row.outcome is Outcome.PREEMPTED:  # it is trained again, as another
            if key in self._open:
                self._finish(key, _GONE_ON)
        elif run_id not in self._sent:
            run = self._log(key)
            for name, value in summary_of_trial(row).items():
                run.summary[name] = value
            self._finish(key, 0)
            self._sent.add(run_id)
        del self._left[key]

    def _log(self, key: _Key) -> Run:
        """Log the epochs that are new, of a run that begins where there is none."""
        stage, row = key[0], self._left[key]
        if key not in self._open:
            run = self._service.begin(
                self._identity.trial(stage, row),
                f"{stage}-{row.number}",
                "trial",
                tags_of(self._spec, stage, row),
                config_of(stage, row),
                lean=True,
            )
            run.define_metric("epoch", hidden=True)
            run.define_metric("*", step_metric="epoch")
            # A step is an epoch, so that a run that goes on says what it has.
            self._open[key] = run, max(run.starting_step - 1, 0)
        run, had = self._open[key]
        for epoch, values in epochs_of(self._spec, row, had):
            run.log(values, step=epoch)
            had = epoch
        self._open[key] = run, had
        return run

    def _finish(self, key: _Key, exit_code: int) -> None:
        run, _ = self._open.pop(key)
        run.finish(exit_code=exit_code)
        self._service.check()


def _in_order(key: _Key) -> tuple[int, int]:
    return SHOWN.index(key[0]), key[1]
