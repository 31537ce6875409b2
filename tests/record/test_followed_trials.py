"""Trials as they change: each look gives what is new, of a journal and of a database alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from lab.errors import RecordError
from lab.record.folder import Record
from lab.record.followed_trials import FollowedTrials
from lab.record.ledger import Ledger
from lab.spec.exchange import Report
from lab.spec.plan import Job, Recipe, SearchPlan, Store, TaskRef, Training
from lab.spec.space import Float, Space
from lab.spec.trial import Outcome


def _job(folder: Path) -> Job:
    return Job(
        stage="explore",
        folder=folder,
        task=TaskRef("digits"),
        space=Space(max_lr=Float(1e-4, 1.0, log=True)),
        recipe=Recipe(),
        training=Training({"kind": "adamw"}, 64),
        direction="maximize",
        metric="accuracy",
        seed=1,
        width=2,
        lanes=1,
        plan=SearchPlan({"kind": "random"}, {"kind": "none"}, trials=4, epochs=3),
    )


@pytest.mark.parametrize("database", [False, True])
def test_each_look_gives_what_has_changed(tmp_path: Path, database: bool):
    store = Store(f"sqlite:///{tmp_path / 'trials.db'}", "followed") if database else None
    followed = FollowedTrials(Record(tmp_path), store)

    def look() -> list[tuple[int, dict[int, float], str | None]]:
        changed = followed.look(("bounds", "explore"))
        assert changed["bounds"] == []
        return [(row.number, row.curve, row.outcome) for row in changed["explore"]]

    assert look() == []
    ledger = Ledger(replace(_job(tmp_path), store=store))
    ledger.attach(0)
    ledger.next(0, 0, (0, 1))
    assert look() == [(0, {}, None), (1, {}, None)]
    assert look() == []
    ledger.report(0, 0, (Report(0, 1, {"accuracy": 0.5}),))
    assert look() == [(0, {1: 0.5}, None)]
    ledger.report(0, 1, (Report(0, 2, {"accuracy": 0.75}, Outcome.COMPLETED),))
    ledger.close(1, Outcome.PREEMPTED)
    assert look() == [(0, {1: 0.5, 2: 0.75}, "completed"), (1, {}, "preempted"), (2, {}, None)]
    assert look() == []
    followed.close()
    ledger.release()


def test_a_trial_that_is_being_ended_is_not_seen_half_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A database shows what is written of an end one after the other."""
    store = Store(f"sqlite:///{tmp_path / 'trials.db'}", "followed")
    followed = FollowedTrials(Record(tmp_path), store)
    ledger = Ledger(replace(_job(tmp_path), store=store))
    ledger.attach(0)
    ledger.next(0, 0, (0,))
    seen = []
    tell = optuna.Study.tell

    def tell_and_look(*arguments: Any, **more: Any) -> Any:
        seen.extend(followed.look(("explore",))["explore"])
        return tell(*arguments, **more)

    monkeypatch.setattr(optuna.Study, "tell", tell_and_look)
    ledger.report(0, 0, (Report(0, 1, {"accuracy": 0.5}, Outcome.COMPLETED),))
    ledger.release()
    assert seen == []
    (row,) = followed.look(("explore",))["explore"]
    assert (row.outcome, row.score) == (Outcome.COMPLETED, 0.5)
    followed.close()


def test_a_damaged_journal_is_one_line(tmp_path: Path):
    record = Record(tmp_path)
    record.journal_path.write_text('{"op_code":4,"nothing":"else"}\n')
    with pytest.raises(RecordError, match="is damaged or not this study's"):
        FollowedTrials(record, None).look(("explore",))
