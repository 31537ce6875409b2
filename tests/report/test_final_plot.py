"""The final models' curves: each is its trial's, and its snapshots stand at the ends of its cycles."""

from __future__ import annotations

import pytest

from lab.record.trials import TrialRow
from lab.report.final_plot import final_figure, snapshot_epochs
from lab.spec.plan import Recipe
from lab.spec.trial import Trial
from lab.stages.final import CYCLICAL, LONG, NO_HERO, Run


def _run(role: str, trial: int, cycles: int) -> Run:
    params = {"max_lr": 0.1, "cycles": cycles}
    files = tuple(f"{trial:04d}-{i}.safetensors" for i in range(cycles))
    return Run(role, 0, trial, params, 6, "completed", 0.9, files)


def test_snapshots_stand_at_the_ends_of_cycles() -> None:
    runs = [_run(LONG, 0, 1), _run(CYCLICAL, 1, 2), _run(NO_HERO, 2, 1), _run(LONG, 3, 1)]
    curve = {epoch: epoch / 10 for epoch in range(1, 7)}
    rows = [TrialRow(number, Trial({}, 0, 6), curve=curve) for number in range(3)]
    long, cyclical, snapshots = final_figure(runs, rows, Recipe(), "accuracy").data
    assert [line.name for line in (long, cyclical)] == ["1cycle run", "cyclical run"], "what can be handed out"
    assert list(cyclical.y) == list(curve.values())
    assert list(snapshots.x) == pytest.approx([6, *snapshot_epochs(runs[1], Recipe())])
    assert list(snapshots.y) == pytest.approx([x / 10 for x in snapshots.x]), "on their curve"
    assert snapshot_epochs(runs[1], Recipe()) == pytest.approx([3, 6])
    assert len(final_figure(runs, [], Recipe(), "accuracy").data) == 0
