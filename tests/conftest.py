"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from lab.study import Study


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Small tensors gain nothing from threads, and tests run beside each other."""
    torch.set_num_threads(1)


@pytest.fixture
def quiet_optuna() -> Iterator[None]:
    """Optuna says nothing of trials that fail."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


@pytest.fixture(scope="session")
def table_study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A finished study of a table's classes, ten rows of which stand in it twice; not to be written to."""
    from tests.own_data import table, write_table
    from tests.own_studies import own_study

    folder = tmp_path_factory.mktemp("classes")
    frame = table(160).assign(empty=None)
    frame.loc[150:, ["number", "letter", "day"]] = frame.loc[:9, ["number", "letter", "day"]].to_numpy()
    path = write_table(folder / "table.csv", frame)
    return own_study(folder / "run", {"kind": "table", "path": str(path), "target": "answer", "layers": [16]})
