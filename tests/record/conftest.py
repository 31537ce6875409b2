"""What tests of the record share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(autouse=True, scope="module")
def _scripts_are_read_once() -> Iterator[None]:
    """Optuna runs the scripts of all its versions twice when it opens a database, which takes longer than all else."""
    from optuna.storages._rdb.storage import _VersionManager

    make, made = _VersionManager._create_alembic_script, []

    def once(manager: _VersionManager) -> Any:
        made.extend([] if made else [make(manager)])
        return made[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_VersionManager, "_create_alembic_script", once)
        yield
