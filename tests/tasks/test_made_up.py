"""Made-up inputs: of the kind that a task's are, each of two that were given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lab.tasks.made_up import crossed, made_up
from lab.tasks.table import table_data
from lab.tasks.table.encoding import MISSING, features
from lab.tasks.table.task import Table
from tests.own_data import table, write_table


def test_numbers_lie_between_two_inputs_and_nearer_to_their_own():
    x = torch.eye(6)
    made = made_up(x, np.random.default_rng(0))
    assert made.dtype == x.dtype
    torch.testing.assert_close(made.sum(dim=1), torch.ones(6))
    assert (made.diagonal() >= 0.5).all()
    assert ((made > 0).sum(dim=1) <= 2).all()


def test_pixels_stay_pixels():
    x = torch.tensor([0, 255], dtype=torch.uint8)[:, None, None, None].expand(2, 3, 4, 4)
    made = made_up(x, np.random.default_rng(1))
    assert (made.dtype, made.shape) == (torch.uint8, x.shape)
    assert {len(image.unique()) for image in made} == {1}, "an image is mixed as a whole"


def test_codes_are_those_of_one_of_two():
    x = torch.arange(8)[:, None].expand(8, 50).contiguous()
    made = made_up(x, np.random.default_rng(0))
    assert all(len(row.unique()) <= 2 and i in row for i, row in enumerate(made))
    assert any(len(row.unique()) == 2 for row in made)


@pytest.mark.parametrize("compact", [False, True])
def test_what_is_made_of_one_column_stays_together(compact: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(table_data, "_COMPACT_BYTES", 0 if compact else 2**30)
    frame = table(80)
    frame.loc[::7, "number"] = None
    task = Table(str(write_table(tmp_path / "t.csv", frame)), target="answer", bins=4)
    x = task.data("train")[0]
    made = task.made_up(x, np.random.default_rng(0))
    form = task._learned.form
    owner, values = form.column_of, x.numpy()
    assert form.compact is compact
    assert owner.shape == (x.shape[1],)
    for column in range(int(owner.max()) + 1):
        there = {row.tobytes() for row in np.ascontiguousarray(values[:, owner == column])}
        assert {row.tobytes() for row in np.ascontiguousarray(made.numpy()[:, owner == column])} <= there
    rows = {row.tobytes() for row in values}
    assert sum(row.tobytes() not in rows for row in made.numpy()) > len(x) / 2, "most stand nowhere in the table"
    again = features(form, made.numpy())
    assert again.shape == features(form, values).shape
    assert not (again == MISSING).any()


def test_a_row_is_crossed_with_one_that_is_near():
    """Two groups that no row lies between: a code and a number say which."""
    group = np.arange(200) % 2
    x = np.stack([group, np.arange(200) % 5, 9.0 * group], axis=1).astype(np.float32)
    made = crossed(x, np.arange(3), 1, np.random.default_rng(0))
    np.testing.assert_array_equal(made[:, 0] * 9, made[:, 2])
    assert (made[:, 1] != x[:, 1]).any() or len(np.unique(x[:, 1])) == 1


def test_one_row_alone_is_its_own_neighbour():
    x = np.ones((1, 2), dtype=np.float32)
    np.testing.assert_array_equal(crossed(x, np.arange(2), 0, np.random.default_rng(0)), x)
