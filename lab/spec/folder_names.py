"""The names in a study's folder that rooms below the record's read too."""

from __future__ import annotations

import hashlib

_DIGITS = 12
FINAL, REFIT, SECOND = "final", "refit", "second"
"""Folders of weights, by the stage that trained them."""
DATA = "data"
"""The folder of what a task keeps."""
TASK_FILE = "task.json"
"""What the task learned from its data."""

SUSPECTS, DISTILL, PSEUDO = "suspects", "distill", "pseudo"
"""What is trained beside a finished study; see `side_folder`."""


def side_folder(what: str, asked: str) -> str:
    """The folder of what is trained beside a study, for one question. It is there until that is answered, so that the
    same question goes on after an interruption."""
    return f"{what}-{hashlib.sha256(asked.encode()).hexdigest()[:_DIGITS]}"


def side_pattern(what: str) -> str:
    """Which names `side_folder` gives, for `glob`."""
    return f"{what}-{'[0-9a-f]' * _DIGITS}"


def artefact_file(stage: str) -> str:
    """The file of a stage's artefact.

    >>> artefact_file("refit")
    'refit.json'
    """
    return f"{stage}.json"
