"""Focal loss: as its paper says, and as a trial's own in a stack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lab.errors import SpecError, TaskError
from lab.schedules import OneCycle
from lab.spec.exchange import Assignment
from lab.spec.plan import Training
from lab.spec.trial import Trial
from lab.tasks.balance import emphasised
from lab.tasks.focal import focal_loss, gamma_of
from lab.tasks.images.task import Images
from lab.tasks.table.task import Table
from lab.tasks.text.task import Text
from lab.training.loss import slot_losses
from lab.training.trainer import ModelTrainer
from tests.own_data import pixels, table, write_table, write_texts


def _with_gamma(target: Tensor, gamma: float) -> Tensor:
    return torch.cat([target, torch.full((len(target), 1), gamma)], dim=1)


def _logits(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_it_is_equation_4_of_the_paper(gamma: float):
    output, y = _logits(50, 3), torch.arange(50) % 3
    p = output.softmax(dim=1).gather(1, y[:, None])[:, 0]
    said = focal_loss(output, _with_gamma(nn.functional.one_hot(y, 3).float(), gamma), "classification")
    torch.testing.assert_close(said, -((1 - p) ** gamma) * p.log())


def test_of_labels_it_is_torchvisions():
    """`torchvision.ops.sigmoid_focal_loss(inputs, targets, alpha=-1, gamma=2)`, written as it computes it."""
    output, y = _logits(40, 4), (torch.arange(160).reshape(40, 4) % 3 == 0).float()
    p, ce = output.sigmoid(), nn.functional.binary_cross_entropy_with_logits(output, y, reduction="none")
    p_t = p * y + (1 - p) * (1 - y)
    expected = (ce * ((1 - p_t) ** 2)).mean(dim=1)
    torch.testing.assert_close(focal_loss(output, _with_gamma(y, 2.0), "multilabel"), expected)


def test_with_class_weights_it_is_equation_5():
    output, y, shares = _logits(2, 30, 3), torch.arange(60).reshape(2, 30) % 3, torch.tensor([0.7, 0.2, 0.1])
    columns = torch.tensor([1.0, 2.0]).expand(2, 30, 2)
    target = emphasised(y, columns, shares)
    assert target.shape == (2, 30, 4)
    alpha = (1 / shares / 3)[y[0]]  # at 1 all classes weigh the same together
    p = output[0].softmax(dim=1).gather(1, y[0][:, None])[:, 0]
    said = focal_loss(output[0], target[0], "classification")
    torch.testing.assert_close(said, -alpha * (1 - p) ** 2 * p.log())


@given(
    logit=st.floats(-200, 200),
    gamma=st.floats(0, 10),
    kind=st.sampled_from(["classification", "multilabel"]),
)
def test_it_and_its_slope_are_finite_however_sure_a_net_is(logit: float, gamma: float, kind: Any):
    output = torch.tensor([[logit, 0.0]], requires_grad=True)
    loss = focal_loss(output, torch.tensor([[1.0, 0.0, gamma]]), kind)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert output.grad is not None
    assert output.grad.isfinite().all()
    plain = focal_loss(output, torch.tensor([[1.0, 0.0, 0.0]]), kind)
    assert float(loss.detach()) <= float(plain.detach()) + 1e-6


def test_a_trials_own_value_wins_and_values_are_refused():
    assert gamma_of("classification", {}, 0.0) is None
    assert gamma_of("multilabel", {}, 2.0) == 2.0
    assert gamma_of("classification", {"focal_gamma": 0.0}, 2.0) == 0.0
    with pytest.raises(
        TaskError, match=r"^task.focal_gamma: .* is for a target of classes or labels; this one's are values$"
    ):
        gamma_of("regression", {"focal_gamma": 1.0}, 0.0)


def _tasks(folder: Path) -> dict[str, Any]:
    random = np.random.default_rng(0)
    np.savez(folder / "images.npz", x=pixels(60), y=np.arange(60) % 2)
    np.savez(folder / "labels.npz", x=pixels(60), y=random.integers(0, 2, (60, 3)))
    frame = pd.DataFrame({"a": random.normal(size=90), "one": np.arange(90) % 2, "two": np.arange(90) // 2 % 2})
    frame.to_csv(folder / "labels.csv", index=False)
    return {
        "table": Table(str(write_table(folder / "t.csv", table())), target="answer"),
        "labels of a table": Table(str(folder / "labels.csv"), target=["one", "two"]),
        "images": Images(str(folder / "images.npz"), flip=False, mixup=0.2),
        "labels of images": Images(str(folder / "labels.npz"), flip=False, label_smoothing=0.1),
        "text": Text(str(write_texts(folder / "texts.csv")), word_dropout=0.1),
    }


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _tasks(tmp_path_factory.mktemp("focal"))


@pytest.mark.parametrize("name", ["table", "labels of a table", "images", "labels of images", "text"])
def test_trials_of_a_stack_have_losses_of_their_own(name: str, tasks: dict[str, Any]):
    """The trial whose gamma is 0 trains as the cross entropy has it, beside one that differs in gamma."""
    task = tasks[name]
    losses: dict[str, list[float]] = {}
    for searched in ((0.0, 3.0), (None, None)):
        trainer = ModelTrainer(task, Training({"kind": "adamw"}, 16, path="sequential"), 2, {})
        for slot, gamma in enumerate(searched):
            params = {} if gamma is None else {"focal_gamma": gamma}
            trial = Trial(params, 0, 1, own_schedule=OneCycle(max_lr=0.02))
            trainer.start(Assignment(slot, trial, slot, 0))
        results = trainer.epoch()
        assert [result.detail for result in results] == ["", ""]
        losses[str(searched[0])] = [result.metrics["train_loss"] for result in results]
    (plain, focal), (expected, _) = losses["0.0"], losses["None"]
    assert plain == pytest.approx(expected, rel=1e-4)
    assert focal < plain * 0.8


def test_what_nets_are_compared_by_stays_the_cross_entropy(tasks: dict[str, Any]):
    output, y = _logits(1, 6, 2), torch.arange(6)[None] % 2
    for name in ("images", "text", "table"):
        assert tasks[name].loss(output[0], y[0]).tolist() == pytest.approx(
            nn.functional.cross_entropy(output[0], y[0], reduction="none").tolist()
        )
    assert tasks["images"].plain_loss
    assert slot_losses(tasks["images"], output, y).tolist() == pytest.approx(
        [float(nn.functional.cross_entropy(output[0], y[0]))]
    )


def test_a_subclass_with_a_loss_of_its_own_keeps_it(tmp_path: Path):
    class Mine(Images):
        def loss(self, output: Tensor, target: Tensor) -> Tensor:
            return output[:, 0]

    np.savez(tmp_path / "images.npz", x=pixels(60), y=np.arange(60) % 2)
    task = Mine(str(tmp_path / "images.npz"))
    assert not task.plain_loss
    assert slot_losses(task, torch.ones(1, 6, 2), torch.zeros(1, 6, dtype=torch.int64)).tolist() == [1.0]


def test_texts_of_two_tokens_lose_none_for_it(tmp_path: Path):
    task = Text(str(write_texts(tmp_path / "texts.csv")), max_tokens=2, focal_gamma=2.0)
    x, y = (part[None, :4] for part in task.data("train"))
    drawn = task.draw(4, np.random.default_rng(0), {})
    assert drawn is not None
    seen, target = task.augment(x, y, torch.from_numpy(drawn)[None])
    assert torch.equal(seen, x)
    assert target.shape == (1, 4, 3)


@pytest.mark.parametrize("gamma", [-1, 11, "much", True])
def test_an_impossible_gamma_is_refused_in_a_line(gamma: Any, tmp_path: Path):
    with pytest.raises(SpecError, match=r"^task\.focal_gamma: .* is not a number from 0 to 10$"):
        Images("photos", focal_gamma=gamma)
