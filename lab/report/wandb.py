"""W&B: one run per study, logged from the driver. The only place that imports wandb, and only when asked to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.errors import SpecError, install_extra
from lab.record.artefact import A, to_json
from lab.record.folder import Record
from lab.record.trials import read_trials
from lab.spec.study import StudySpec
from lab.stages import explore
from lab.stages.stage import Skipped, Stage

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

    The run's id follows from the study's name and folder, so that a resumed study goes on in its run.

    W&B raises many kinds of errors: a key that is none, a server that does not answer, a run that somebody deleted.
    """

    def __init__(self, spec: StudySpec, record: Record) -> None:
        import wandb

        self._wandb = wandb
        self._spec = spec
        self._record = record
        record.folder.mkdir(parents=True, exist_ok=True)
        identity = f"{spec.name}\0{record.folder.resolve()}"
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "lab"),
            name=spec.name,
            id=hashlib.sha256(identity.encode()).hexdigest()[:16],
            resume="allow",
            dir=str(record.folder),
            config=spec.model_dump(mode="json", exclude={"storage"}),  # a database's URL may hold a password
            settings=wandb.Settings(silent=True, console="off", **_patience(wandb.Settings)),
        )

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
        """The report's page, with its plots, and the end of the run."""
        page = record.folder / Record.REPORT
        if page.exists():
            self._run.log({"report": self._wandb.Html(page.read_text(encoding="utf-8"), inject=False)})
        self._run.finish()


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
