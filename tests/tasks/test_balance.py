"""Rare classes count more: as weights in the loss by hand, and in what a trained net says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from lab.errors import SpecError, TaskError
from lab.schedules import OneCycle
from lab.spec.exchange import Assignment
from lab.spec.plan import Training
from lab.spec.trial import Trial
from lab.tasks.balance import balanced, exponent_of, shares_of
from lab.tasks.images.task import Images
from lab.tasks.table.task import Table
from lab.training.trainer import ModelTrainer
from tests.own_data import table, write_table

SHARES = torch.tensor([0.7, 0.2, 0.1])


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_the_loss_is_that_of_weighted_examples(exponent: float):
    random = torch.Generator().manual_seed(0)
    y, output = torch.randint(0, 3, (2, 50), generator=random), torch.randn(2, 50, 3, generator=random)
    soft = balanced(nn.functional.one_hot(y, 3).float(), torch.full((2, 50), exponent), SHARES)
    weights = SHARES**-exponent / (SHARES * SHARES**-exponent).sum()
    for slot in range(2):
        by_hand = nn.functional.cross_entropy(output[slot], y[slot], weight=weights, reduction="none")
        torch.testing.assert_close(nn.functional.cross_entropy(output[slot], soft[slot], reduction="none"), by_hand)
    assert float((SHARES * weights).sum()) == pytest.approx(1.0), "an example weighs 1 on average"
    if exponent == 1:
        assert (SHARES * weights).tolist() == pytest.approx([1 / 3] * 3), "and a class as much as any other"


def test_a_class_that_training_lacks_is_no_reason_to_fail():
    shares = shares_of(torch.tensor([0, 0, 1]), 3)
    assert shares.tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    assert balanced(torch.eye(3)[None, :2], torch.ones(1, 2), shares).isfinite().all()


def test_a_trials_own_value_wins_and_other_targets_are_refused():
    of_kind: dict[str, Any] = {
        kind: SimpleNamespace(kind=kind) for kind in ("classification", "multilabel", "regression")
    }
    assert exponent_of(of_kind["regression"], {}, 0.0) is None
    assert exponent_of(of_kind["classification"], {}, 0.5) == 0.5
    assert exponent_of(of_kind["classification"], {"balance": 0.0}, 0.5) == 0.0
    with pytest.raises(TaskError, match=r"^task.balance: .* is for a target of classes alone; this one's are labels$"):
        exponent_of(of_kind["multilabel"], {"balance": 0.5}, 0.0)


def _recalls(task: Any, balance: float | None) -> list[float]:
    """Each class's recall by the first of two slots that were trained for a short while."""
    params = {} if balance is None else {"balance": balance}
    trainer = ModelTrainer(task, Training({"kind": "adamw"}, 32, path="stacked"), 2, params)
    for slot in range(2):
        trainer.start(Assignment(slot, Trial(params, slot, 6, own_schedule=OneCycle(max_lr=0.02)), slot, 0))
    for _ in range(6):
        trainer.epoch()
    x, y = task.data("valid")
    net = task.model(params)
    saved = trainer.save(0)[0]
    net.load_state_dict({name.removeprefix("model/"): t for name, t in saved.items() if name.startswith("model/")})
    said = net.eval()(task.model_input(x)).argmax(dim=1)
    return [float((said[y == c] == c).float().mean()) for c in range(2)]


@pytest.mark.parametrize("kind", ["table", "images"])
def test_a_net_says_a_rare_class_more_often(kind: str, tmp_path: Path):
    random = np.random.default_rng(0)
    y = (random.random(1200) < 0.1).astype(int)
    task: Any
    if kind == "table":
        rows = pd.DataFrame({"a": random.normal(size=1200) + 1.2 * y, "b": random.normal(size=1200), "y": y})
        task = Table(str(write_table(tmp_path / "t.csv", rows)), "y", bins=0)
    else:
        x = np.clip(random.normal(120, 40, (1200, 6, 6, 1)) + 10 * y[:, None, None, None], 0, 255).astype(np.uint8)
        np.savez(tmp_path / "x.npz", x=x, y=y)
        task = Images(str(tmp_path / "x.npz"), flip=False)
    plain, even = _recalls(task, None), _recalls(task, 1.0)
    assert even[1] > plain[1] + 0.2
    assert even[0] < plain[0]
    assert _recalls(task, 0.0) == plain


def test_it_is_refused_where_it_cannot_be(tmp_path: Path):
    with pytest.raises(SpecError, match=r"^task\.balance: 2 is not a number from 0 to 1$"):
        Table("t.csv", "y", balance=2)
    task = Table(str(write_table(tmp_path / "t.csv", table())), "number", target_type="number", balance=0.5)
    with pytest.raises(TaskError, match=r"task.balance: .* is for a target of classes alone; this one's are values"):
        task.draw(4, np.random.default_rng(0), {})
