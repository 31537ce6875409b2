"""What a study's run shows as tables, and a W&B Report draws: range tests, importances, controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lab.report.artefacts import Artefacts
from lab.stages.bounds import Bounds
from lab.stages.ensemble import ChosenEnsemble, Ensembled
from lab.stages.explain import Explained
from lab.stages.refit import Refitted
from lab.stages.second_round import SecondRound

RANGE_TEST, IMPORTANCE, CONTROLS = "bounds/range_test", "explain/importance", "ensemble/controls"
"""The names of the tables."""
HANDED_OUT = "handed out"


@dataclass(frozen=True)
class Rows:
    """A table's columns by name, and its rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def tables_of(artefacts: Artefacts) -> dict[str, Rows]:
    """The tables of what a study's stages have left so far, by name."""
    tables: dict[str, Rows] = {}
    if artefacts.bounds is not None and artefacts.bounds.runs:
        tables[RANGE_TEST] = _range_test(artefacts.bounds)
    if artefacts.explained is not None and artefacts.explained.measures:
        tables[IMPORTANCE] = _importance(artefacts.explained)
    if artefacts.ensemble is not None and artefacts.handed is not None:
        tables[CONTROLS] = _controls(artefacts.ensemble, artefacts.handed)
    return tables


def _range_test(bounds: Bounds) -> Rows:
    rows = [
        (f"weight decay {run.weight_decay:g}, seed {run.seed}", lr, loss)
        for run in bounds.runs
        for lr, loss in zip(run.lrs, run.smoothed, strict=False)
    ]
    return Rows(("range test", "learning rate", "loss"), rows)


def _importance(explained: Explained) -> Rows:
    shares = [(name, measure, s.share) for measure, of in explained.measures.items() for name, s in of.items()]
    return Rows(("hyperparameter", "measure", "share"), shares)


def _controls(ensembled: Ensembled, handed: SecondRound | Refitted | ChosenEnsemble) -> Rows:
    metric = ensembled.metric
    ways = [(control.name, control.test[metric].mean) for control in ensembled.controls]
    return Rows(("way", metric), [(HANDED_OUT, handed.test[metric]), *ways])
