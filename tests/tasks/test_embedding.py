"""Features before the head, and a table's categories as numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from lab.errors import TaskError
from lab.tasks.digits import Digits
from lab.tasks.embedding import before_head
from lab.tasks.table.task import Table
from tests.own_data import table, write_table


def test_the_head_of_a_net_takes_what_is_given() -> None:
    task = Digits()
    net = task.model({}).eval()
    x = task.data("valid")[0][:5]
    names, features = task.embed(net, x)
    assert (len(names), features.shape) == (128, (5, 128))
    with torch.no_grad():
        torch.testing.assert_close(net[-1](features), net(x))  # type: ignore[index]
    assert not net[-1]._forward_pre_hooks  # type: ignore[index]


@pytest.mark.parametrize("net", [nn.ReLU(), nn.Linear(3, 2)], ids=["no layer", "of each part"])
def test_a_net_without_such_a_layer_is_refused(net: nn.Module) -> None:
    with pytest.raises(TaskError, match="no linear layer on features of whole examples"):
        before_head(net, torch.zeros(4, 5, 3))


def test_a_tables_categories_become_their_learned_numbers(tmp_path: Path) -> None:
    frame = table(80)
    frame.loc[3, "number"] = None
    task = Table(str(write_table(tmp_path / "t.csv", frame)), target="answer", bins=4)
    net = task.model({})
    for embedding in net.embeddings:  # type: ignore[union-attr]
        nn.init.normal_(embedding.weight)
    x = task.read(tmp_path / "t.csv").x
    names, numbers = task.embed(net, x)
    made = pd.DataFrame(numbers.detach().numpy(), columns=[*names])
    letters = made.filter(like="letter.").round(5).astype(str).agg(" ".join, axis=1)
    assert letters.groupby(frame["letter"]).nunique().tolist() == [1, 1, 1]
    assert letters.nunique() == 3
    column = made["number"].to_numpy()
    assert np.isnan(column[3])
    present = frame["number"].notna().to_numpy()
    assert np.corrcoef(column[present], frame["number"][present])[0, 1] == pytest.approx(1.0)
