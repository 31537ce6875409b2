"""The names in a study's folder that rooms below the record's read too."""

from __future__ import annotations

FINAL, REFIT = "final", "refit"
"""Folders of weights, by the stage that trained them."""
TASK_FILE = "task.json"
"""What the task learned from its data."""


def artefact_file(stage: str) -> str:
    """The file of a stage's artefact.

    >>> artefact_file("refit")
    'refit.json'
    """
    return f"{stage}.json"
