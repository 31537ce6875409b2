"""The run of a study: its stages, curves, answer and files; and, beside it, the runs of its trials."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.record.artefact import A, to_json
from lab.record.folder import Record
from lab.record.followed_trials import FollowedTrials
from lab.record.trials import TrialRow
from lab.report.artefacts import Artefacts
from lab.report.summary import Summary, summary_of
from lab.report.wandb_runs.identity import Identity
from lab.report.wandb_runs.service import Service, quiet, where_to
from lab.report.wandb_runs.study_curves import StudyCurves
from lab.report.wandb_runs.tables import tables_of
from lab.report.wandb_runs.trial_runs import SHOWN, TrialRuns, Which
from lab.report.wandb_runs.workspace_report import report_of
from lab.spec.space import Value
from lab.spec.study import StudySpec
from lab.spec.trial import Outcome
from lab.stages import TRAINS, confirm, explore
from lab.stages.job import best_first
from lab.stages.second_round import SecondRound
from lab.stages.stage import Skipped, Stage

_NO_NAME = re.compile(r"[^a-zA-Z0-9_.-]+")
"""What no artifact's name may hold."""
_BEST = 10
"""Trials of the search that are the best."""
_PAUSED = 130
"""The exit code of a run whose study pauses."""


class WandbTracker:
    """Logs a study's stages, trials and plots.

    The run's id lies in the study's folder, so that a study goes on in its run wherever it has been moved.

    W&B raises many kinds of errors: a key that is none, a server that does not answer, a run that somebody deleted.

    Args:
        which: trials that have runs of their own.
        whole: log what has been logged before as well, where no server can tell that it has it.
    """

    def __init__(self, spec: StudySpec, record: Record, which: Which = "best", whole: bool = False) -> None:
        self._spec, self._record, self._which = spec, record, which
        identity = self._identity = Identity(spec, record)
        self._service = Service(record.folder, identity.group)
        self._run = self._service.begin(
            identity.study,
            spec.name,
            "study",
            [spec.task.kind.rpartition(":")[2][:64]],
            spec.model_dump(mode="json", exclude={"storage"}),  # a database's URL may hold a password
        )
        self._followed = FollowedTrials(record, spec.store)
        self._rows: dict[str, dict[int, TrialRow]] = {stage: {} for stage in TRAINS}
        self._curves = StudyCurves(self._run, SHOWN)
        again = whole and bool(self._run.offline)
        self._trials = TrialRuns(spec, self._service, identity, which, where_to(self._run), again)

    @property
    def where(self) -> str:
        """Where the run is looked at, or how it gets there."""
        if self._run.disabled:
            return "nowhere, since WANDB_MODE says so"
        if not self._run.offline:
            return str(self._run.url)
        folder = Path(self._run.dir).parent
        if self._which == "none":
            return f"wandb sync {shlex.quote(str(folder))}"
        return f"wandb sync {shlex.quote(str(folder.parent))}/offline-run-*"

    def save_report(self) -> str:
        """Make the W&B Report of the study, or make it anew; its address. The study has been logged to a server."""
        artefacts, where = Artefacts.of(self._record), where_to(self._run)
        trials = {stage: self._rows_of(stage) for stage in TRAINS}
        summary = summary_of(self._spec, self._record.folder, artefacts, trials)
        home = self._run.entity, self._run.project, self._identity.group
        with quiet():
            report = report_of(self._spec.space, summary, artefacts, *home)
            report.id = self._identity.report(where)
            report.save()
        self._identity.note_report(where, report.id)
        return str(report.url)

    def look(self) -> None:
        """Log what has changed in the record."""
        changed = self._followed.look(TRAINS)
        for stage, rows in changed.items():
            self._rows[stage] |= {row.number: row for row in rows}
        self._curves.add(changed, self._followed.direction)
        self._choose()
        self._trials.take(changed)
        self._service.check()

    def stage(self, stage: Stage[A], artefact: A | Skipped) -> None:
        """A stage is complete: its figures as summary, its trials as a table."""
        self.look()
        for name, value in _scalars(stage.name, to_json(artefact)).items():
            self._run.summary[name] = value
        rows = self._rows_of(stage.name) if stage.trainings else []
        if rows:
            names = list(dict.fromkeys(name for row in rows for name in row.params))
            columns = ["trial", "role", "outcome", "score", "epochs", *names]
            table = [
                [row.number, row.trial.role, str(row.outcome), row.score, row.trial.epochs]
                + [row.params.get(name) for name in names]
                for row in rows
            ]
            self._curves.note({f"{stage.name}/table": self._service.table(columns, table)})
        for name, shown in tables_of(Artefacts.of(self._record)).items():
            if name.startswith(f"{stage.name}/"):
                self._curves.note({name: self._service.table(shown.columns, shown.rows)})

    def finish(self, record: Record) -> None:
        """The answer as the run's summary, the report's page, and the files as artifacts; then the run ends."""
        self.look()
        artefacts = Artefacts.of(record)
        trials = {stage: self._rows_of(stage) for stage in TRAINS}
        summary = summary_of(self._spec, record.folder, artefacts, trials)
        for name, value in _answer(summary, artefacts).items():
            self._run.summary[name] = value
        page = record.folder / Record.REPORT
        if page.exists():
            self._curves.note({"report": self._service.page(page.read_text(encoding="utf-8"))})
        self._keep("results", [page, record.folder / Record.TRIALS])
        if artefacts.handed is not None:
            folder = record.final_folder if artefacts.refit is None else record.refit_folder
            if isinstance(artefacts.handed, SecondRound):
                folder = record.second_folder
            self._keep("model", [folder / member.file for member in artefacts.handed.members])
        self._end(0)

    def leave(self) -> None:
        """The study pauses in the middle of a stage: its run, and those of trials that train, go on later."""
        self._end(_PAUSED)

    def _end(self, exit_code: int) -> None:
        try:
            self._trials.close()
            self._run.finish(exit_code=exit_code)
            self._service.check()
        finally:
            self._followed.close()
            self._service.close()

    def _rows_of(self, stage: str) -> list[TrialRow]:
        rows = self._rows[stage]
        return [rows[number] for number in sorted(rows) if rows[number].outcome is not Outcome.PREEMPTED]

    def _choose(self) -> None:
        """The best trials of the search, once it is over, and those of it that have been raced."""
        explored = explore.STAGE.if_any(self._record) if self._which == "best" else None
        if explored is None:
            return
        scored = [row for row in self._rows_of("explore") if row.score is not None]
        best = {row.number for row in best_first(scored, explored.direction)[:_BEST]}
        confirmed = confirm.STAGE.if_any(self._record)
        raced = {one.trial for one in confirmed.candidates} if confirmed else set()
        self._trials.choose(best | {number for number in raced if number is not None})

    def _keep(self, kind: str, files: Sequence[Path]) -> None:
        """Files as an artifact of the study's; the newest version is the best one."""
        there = [file for file in files if file.is_file()]
        if there:
            name = f"{_NO_NAME.sub('-', self._spec.name)[:100]}-{kind}"
            self._run.log_artifact(self._service.artifact(name, kind, there), aliases=["best"])


def _answer(summary: Summary, artefacts: Artefacts) -> dict[str, Value]:
    """What a study has found, by the names that its run's summary has for it."""
    answer: dict[str, Value] = {}
    if summary.setup is not None:
        answer |= {f"setup/{setting.name}": setting.value for setting in summary.setup.settings}
        answer["setup/score"] = summary.setup.score
    if artefacts.handed is not None:
        answer |= {f"test/{name}": value for name, value in artefacts.handed.test.items()}
    explained = artefacts.explained
    if explained is not None and not explained.withheld:
        shares = explained.measures["permutation"]
        answer |= {f"importance/{name}": share.share for name, share in shares.items()}
    cost = summary.cost
    spent = {"trainings": cost.trainings, "epochs": cost.epochs, "training_s": cost.training_s}
    return {**answer, **{f"cost/{name}": value for name, value in spent.items()}}


def _scalars(stage: str, artefact: Mapping[str, Any]) -> dict[str, float | str]:
    """Numbers of an artefact worth a line in a run's summary, two levels deep."""
    scalars: dict[str, float | str] = {}
    for name, value in artefact.items():
        inner = value.items() if isinstance(value, Mapping) else [("", value)]
        for key, leaf in inner:
            if isinstance(leaf, (int, float, str)) and not isinstance(leaf, bool):
                scalars["/".join(part for part in (stage, name, key) if part)] = leaf
    return scalars
