"""W&B: one run per study, logged from the driver. The only place that imports wandb, and only when asked to."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.errors import SpecError, install_extra
from lab.record.artefact import A, to_json
from lab.record.folder import Record, read_json, write_json
from lab.record.trials import read_stages, read_trials
from lab.report.artefacts import Artefacts
from lab.report.summary import Summary, summary_of
from lab.spec.space import Value
from lab.spec.study import StudySpec
from lab.stages import TRAINS, explore
from lab.stages.stage import Skipped, Stage

_RUN = "wandb_run.json"
_ID = re.compile(r"[0-9a-f]{16}")
_NO_NAME = re.compile(r"[^a-zA-Z0-9_.-]+")
"""What no artifact's name may hold."""
_PATIENCE_S = {"init_timeout": 30.0, "finish_timeout": 60.0}
"""Seconds that a study waits for a server that does not answer, by W&B's settings. Versions do not have them all."""


def check_wandb() -> None:
    """Refuse to log before anything is begun.

    Raises:
        SpecError: wandb is not installed, or neither a key nor offline mode is set.
    """
    try:
        import wandb  # noqa: F401
    except ImportError:
        raise SpecError("--track", f"wandb is not installed; {install_extra('wandb')}") from None
    offline = os.environ.get("WANDB_MODE", "") in ("offline", "disabled", "dryrun")
    if not offline and not _has_key():
        raise SpecError("--track", "W&B has no key; run 'wandb login', set WANDB_API_KEY, or WANDB_MODE=offline")


class WandbTracker:
    """Logs a study's stages, trials and plots.

    The run's id lies in the study's folder, so that a study goes on in its run wherever it has been moved.

    W&B raises many kinds of errors: a key that is none, a server that does not answer, a run that somebody deleted.
    """

    def __init__(self, spec: StudySpec, record: Record) -> None:
        import wandb

        self._wandb = wandb
        self._spec = spec
        self._record = record
        record.folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "lab"),
            name=spec.name,
            group=spec.name,
            job_type="study",
            tags=[spec.task.kind.rpartition(":")[2]],
            id=_run_id(spec, record),
            resume="allow",
            dir=str(record.folder),
            config=spec.model_dump(mode="json", exclude={"storage"}),  # a database's URL may hold a password
            settings=wandb.Settings(silent=True, console="off", **_patience(wandb.Settings)),
        )

    @property
    def where(self) -> str:
        """Where the run is looked at, or how it gets there."""
        url = getattr(self._run, "url", None)
        return str(url) if url else f"wandb sync {Path(self._run.dir).parent}"

    def stage(self, stage: Stage[A], artefact: A | Skipped) -> None:
        """A stage is complete: its figures as summary, its trials as a table."""
        for name, value in _scalars(stage.name, to_json(artefact)).items():
            self._run.summary[name] = value
        rows = read_trials(self._record, stage.name, self._spec.store) if stage.trainings else []
        if rows:
            names = list(dict.fromkeys(name for row in rows for name in row.params))
            table = self._wandb.Table(columns=["trial", "role", "outcome", "score", "epochs", *names])
            for row in rows:
                values = [row.params.get(name) for name in names]
                table.add_data(row.number, row.trial.role, str(row.outcome), row.score, row.trial.epochs, *values)
            self._run.log({f"{stage.name}/trials": table})
        if stage is explore.STAGE:
            for row in rows:
                if row.score is not None:
                    self._run.log({"explore/trial": row.number, "explore/score": row.score})

    def finish(self, record: Record) -> None:
        """The answer as the run's summary, the report's page, and the files as artifacts; then the run ends."""
        artefacts = Artefacts.of(record)
        trials = read_stages(record, TRAINS, self._spec.store)
        summary = summary_of(self._spec, record.folder, artefacts, trials)
        for name, value in _answer(summary, artefacts).items():
            self._run.summary[name] = value
        page = record.folder / Record.REPORT
        if page.exists():
            self._run.log({"report": self._wandb.Html(page.read_text(encoding="utf-8"), inject=False)})
        self._keep("results", [page, record.folder / Record.TRIALS])
        if artefacts.handed is not None:
            folder = record.final_folder if artefacts.refit is None else record.refit_folder
            self._keep("model", [folder / member.file for member in artefacts.handed.members])
        self._run.finish()

    def _keep(self, kind: str, files: Sequence[Path]) -> None:
        """Files as an artifact of the study's; the newest version is the best one."""
        there = [file for file in files if file.is_file()]
        if not there:
            return
        artifact = self._wandb.Artifact(f"{_NO_NAME.sub('-', self._spec.name)[:100]}-{kind}", type=kind)
        for file in there:
            artifact.add_file(str(file), name=file.name)
        self._run.log_artifact(artifact, aliases=["best"])


def _run_id(spec: StudySpec, record: Record) -> str:
    """The run's id, kept in the folder; where an earlier version began, what it made of the study's name and place."""
    path = record.folder / _RUN
    if path.exists():
        kept = read_json(path).get("id")
        if isinstance(kept, str) and _ID.fullmatch(kept):
            return kept
    made = hashlib.sha256(f"{spec.name}\0{record.folder.resolve()}".encode()).hexdigest()[:16]
    write_json(path, {"id": made})
    return made


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
    return {**answer, "cost/trainings": summary.cost.trainings, "cost/epochs": summary.cost.epochs}


def _patience(settings: Any) -> dict[str, float]:
    return {name: seconds for name, seconds in _PATIENCE_S.items() if name in settings.model_fields}


def _scalars(stage: str, artefact: Mapping[str, Any]) -> dict[str, float | str]:
    """Numbers of an artefact worth a line in a run's summary, two levels deep."""
    scalars: dict[str, float | str] = {}
    for name, value in artefact.items():
        inner = value.items() if isinstance(value, Mapping) else [("", value)]
        for key, leaf in inner:
            if isinstance(leaf, (int, float, str)) and not isinstance(leaf, bool):
                scalars["/".join(part for part in (stage, name, key) if part)] = leaf
    return scalars


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    netrc = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    return netrc.exists() and "wandb" in netrc.read_text(encoding="utf-8", errors="replace")
