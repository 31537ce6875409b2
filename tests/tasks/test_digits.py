"""The built-in task: its splits, its models, its contract."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from lab.errors import SpecError
from lab.tasks.checks import check_task
from lab.tasks.digits import Digits


@pytest.mark.parametrize(("model", "shape"), [("mlp", (64,)), ("cnn", (1, 8, 8))])
def test_it_keeps_its_own_contract(model: str, shape: tuple[int, ...]):
    task = Digits(model)
    check_task(task, {"dropout": 0.5})
    for split, count in (("train", 1077), ("valid", 360), ("test", 360)):
        x, y = task.data(split)  # type: ignore[arg-type]
        assert x.shape == (count, *shape)
        assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
        assert task.model({})(x[:4]).shape == (4, len(task.class_names))


def test_the_splits_are_disjoint_whole_and_stratified():
    task = Digits()
    rows = [tuple(row) for split in ("train", "valid", "test") for row in task.data(split)[0].tolist()]  # type: ignore[arg-type]
    x, y = load_digits(return_X_y=True)
    assert len(rows) == len(x) == 1797
    assert len(set(rows)) == len({tuple(row) for row in x.tolist()})
    share = torch.bincount(torch.tensor(y)) / 1797
    for split in ("train", "valid", "test"):
        target = task.data(split)[1]  # type: ignore[arg-type]
        torch.testing.assert_close(torch.bincount(target) / len(target), share, rtol=0, atol=0.01)


def test_the_scale_is_that_of_the_training_split():
    x, _ = Digits().data("train")
    assert x.mean().item() == pytest.approx(0, abs=1e-5)
    assert x.std().item() == pytest.approx(1, abs=1e-3)


def test_the_split_follows_from_its_seed():
    one, same, other = Digits(), Digits("cnn"), Digits(split_seed=1)
    assert torch.equal(one.data("test")[1], same.data("test")[1])
    assert not torch.equal(one.data("test")[1], other.data("test")[1])
    assert one.data("train")[0] is one.data("train")[0], "read once"


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_dropout_is_searched(model: str):
    rates = [m.p for m in Digits(model).model({"dropout": 0.3}).modules() if isinstance(m, nn.Dropout)]
    assert rates
    assert set(rates) == {0.3}


def test_an_unknown_model_is_refused():
    with pytest.raises(SpecError, match="'rnn' is unknown; choices: mlp, cnn"):
        Digits("rnn")
