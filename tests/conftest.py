"""What all tests share."""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

# Read with torch, here and by processes that are started: small tensors gain nothing from threads, tests run beside
# each other, and threads that wait leave the core to other tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from hypothesis import Phase, settings

import lab  # noqa: F401 - it settles the arithmetic before the first product
from tests import forked

if TYPE_CHECKING:
    from lab.study.study import Study


# A shrink costs minutes where an example trains a model. No deadline: nothing is timed, on machines of any speed.
settings.register_profile(
    "unattended", deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate), print_blob=True
)
settings.register_profile("attended", deadline=None)
settings.load_profile("unattended" if os.environ.get("CI") else "attended")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, so that no worker is left with one of them at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


def pytest_collection_finish() -> None:
    """What is loaded by now stays to the end: to look through it for garbage again and again takes a twentieth of the
    time of all tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Small tensors gain nothing from threads, and tests run beside each other."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _home_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The key by which a user's own studies are known is not that of whoever runs the tests, nor are kept times."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True, scope="session")
def _no_stills() -> Iterator[None]:
    """A page's still pictures cost more than all else of it, and few tests look at them: those let them be drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lab.report.drawn.can_draw", lambda: False)
        yield


@pytest.fixture(autouse=True, scope="session")
def _trees() -> Iterator[int]:
    """A forest beside a net has a tenth of its trees: to train, keep and ask them takes most of a small table's study.
    How many it has in truth."""
    from lab.tasks.table import baselines

    trees = baselines._TREES
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "_TREES", 20)
        yield trees


@pytest.fixture
def whole_forests(_trees: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forest beside a net is that of users."""
    monkeypatch.setattr("lab.tasks.table.baselines._TREES", _trees)


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_disks() -> Iterator[None]:
    """What is written outlives a killed process without `fsync`, and no test can take the power away."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="session")
def lanes_forked() -> Iterator[None]:
    """The processes of lanes, which Ray or lab starts from here on, are forked."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in forked.lanes_forked(os.environ).items():
            patch.setenv(name, value)
        patch.syspath_prepend(forked.FRESH)
        yield


@pytest.fixture
def quiet_optuna() -> Iterator[None]:
    """Optuna says nothing of trials that fail."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The small study, finished; not to be written to."""
    from lab.study.study import Study
    from tests.small import small_spec

    study = Study.from_spec(small_spec(), tmp_path_factory.mktemp("small") / "run")
    study.run()
    return study


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
