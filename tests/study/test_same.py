"""A study is the same wherever its files lie; what else differs is named with both values."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.errors import RecordError, SpecError
from lab.record.folder import Record
from lab.record.spec_file import read_spec
from lab.record.trials import read_trials
from lab.spec.study import StudySpec, parse_spec
from lab.study.extend import extend
from lab.study.same import difference, moved
from lab.study.study import Study
from tests.own_data import table, write_table
from tests.own_studies import own_spec
from tests.small import write_yaml

TASK = """
from lab.tasks.digits import Digits

class Mine(Digits):
    paths = ("weights",)

    def __init__(self, weights="a.pt", scale=1):
        super().__init__()

class Other(Mine):
    pass
"""


def asked(path: Path, **changes: Any) -> StudySpec:
    task = {"kind": "table", "path": str(path), "target": "answer", "layers": [8], **changes.pop("task", {})}
    value = own_spec(task, **changes)
    value["search"] = {"trials": 2, "epochs": 1, "sampler": {"kind": "random"}}
    value["confirm"] = {"one_cycle": 1, "several": 0, "seeds": 2}
    value["space"] = {"max_lr": {"low": 1e-3, "high": 0.03, "log": True}}
    return parse_spec(value)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study that has explored, and its data."""
    folder = tmp_path_factory.mktemp("moved")
    Study.from_spec(asked(write_table(folder / "old.csv", table(120))), folder / "run").run(until="explore")
    return folder


@pytest.fixture
def elsewhere(begun: Path, tmp_path: Path) -> Path:
    """The same, with the data in another place than the study says."""
    shutil.copytree(begun / "run", tmp_path / "run")
    shutil.copy(begun / "old.csv", tmp_path / "new.csv")
    spec = (tmp_path / "run/study.yaml").read_text().replace(str(begun / "old.csv"), str(begun / "gone.csv"))
    (tmp_path / "run/study.yaml").write_text(spec)
    return tmp_path


def _path(folder: Path) -> str:
    return str(Study.open(folder / "run").spec.task.options["path"])


def test_a_study_whose_data_are_gone_says_how_it_goes_on(elsewhere: Path):
    folder = elsewhere / "run"
    with pytest.raises(
        RecordError, match=rf"task.path: .*gone.csv does not exist; .* study resume {folder} --set task.path"
    ):
        Study.open(folder).run()


def test_a_study_goes_on_with_its_data_in_another_place(elsewhere: Path):
    folder = elsewhere / "run"
    before = read_trials(Record(folder), "explore")
    Study.from_spec(asked(elsewhere / "new.csv"), folder).run(until="confirm")
    assert _path(elsewhere) == str(elsewhere / "new.csv")
    assert read_trials(Record(folder), "explore") == before
    assert len(read_trials(Record(folder), "confirm")) == 4
    Study.open(folder).run(until="confirm")


@pytest.mark.parametrize("rows", [119, 121])
def test_other_data_in_another_place_are_refused_and_the_place_is_not_kept(rows: int, elsewhere: Path):
    write_table(elsewhere / "new.csv", table(rows))
    gone = _path(elsewhere)
    with pytest.raises(RecordError, match="the data are not those that the study began with"):
        Study.from_spec(asked(elsewhere / "new.csv"), elsewhere / "run").run()
    assert _path(elsewhere) == gone


def test_a_study_is_extended_with_its_data_in_another_place(elsewhere: Path):
    record = Record(elsewhere / "run")
    new = read_spec(record.spec_path, {"task.path": str(elsewhere / "new.csv"), "search.trials": 3})
    extend(record, new)
    assert _path(elsewhere) == str(elsewhere / "new.csv")
    other = read_spec(record.spec_path, {"task.path": "new.csv", "task.layers": [9], "search.trials": 4})
    with pytest.raises(SpecError, match=r"task\.layers: cannot change when a study is extended"):
        extend(record, other)


def test_trials_in_a_database_come_along(tmp_path: Path):
    """They lie there under a name that follows from the spec."""
    write_table(tmp_path / "old.csv", table(120))
    storage = f"sqlite:///{tmp_path / 'team.db'}"
    Study.from_spec(asked(tmp_path / "old.csv", storage=storage), tmp_path / "run").run(until="explore")
    before = read_trials(Record(tmp_path / "run"), "explore", Study.open(tmp_path / "run").spec.store)
    (tmp_path / "old.csv").rename(tmp_path / "new.csv")
    Study.from_spec(asked(tmp_path / "new.csv", storage=storage), tmp_path / "run").run(until="confirm")
    after = read_trials(Record(tmp_path / "run"), "explore", Study.open(tmp_path / "run").spec.store)
    assert [(row.params, row.score) for row in after] == [(row.params, row.score) for row in before]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 3}, "seed is 0 there and 3 here"),
        ({"batch_size": 8, "seed": 3}, "seed is 0 there and 3 here, and 1 more"),
        ({"task": {"layers": [9]}}, "task.layers is [8] there and [9] here"),
        ({"task": {"test_path": "/test.csv"}}, "task.test_path is missing there and '/test.csv' here"),
        ({"task": {"ignore": ["x" * 99]}}, f"task.ignore is missing there and ['{'x' * 55}... here"),
        (
            {"space": {"max_lr": {"low": 1e-3, "high": 0.04, "log": True}}},
            "space.max_lr.high is 0.03 there and 0.04 here",
        ),
        ({"final": {"epochs": 5}}, "final.epochs is 4 there and 5 here"),
    ],
)
def test_the_setting_that_differs_is_named_with_both_values(changes: dict[str, Any], said: str, tmp_path: Path):
    value = asked(tmp_path / "a.csv", task=changes.get("task", {})).model_dump(mode="json")
    line = difference(asked(tmp_path / "b.csv"), parse_spec(value | {k: v for k, v in changes.items() if k != "task"}))
    assert line is not None
    assert line.startswith(said)


def test_a_task_of_ones_own_may_move_with_its_file(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(TASK)

    def of(folder: str, **task: Any) -> StudySpec:
        own = {"kind": "mine.py:Mine", **task}
        return read_spec(write_yaml(tmp_path / folder / "study.yaml", own_spec(own)))

    stored = of("a", weights="one.pt", scale=2)
    here = of("b", weights="sub/two.pt", scale=2)
    assert difference(stored, here) is None
    ref = moved(stored.task, here.task)
    assert (ref.root, ref.options) == (str(tmp_path / "b"), {"weights": "sub/two.pt", "scale": 2})
    assert difference(stored, of("b", weights="one.pt", scale=3)) == "task.scale is 2 there and 3 here"
    assert difference(stored, of("b", kind="mine.py:Other", weights="one.pt", scale=2)) == (
        "task.kind is 'mine.py:Mine' there and 'mine.py:Other' here"
    )
    elsewhere = stored.model_copy(update={"task": replace(stored.task, kind=f"{tmp_path}/b/mine.py:Mine", root="/")})
    assert difference(stored, elsewhere) is None


def test_a_metric_of_ones_own_moves_with_its_file_and_is_the_same_function(tmp_path: Path):
    def of(metric: str) -> StudySpec:
        return asked(tmp_path / "a.csv", task={"metric": metric, "direction": "maximize"})

    stored = of("/there/scores.py:gain")
    assert difference(stored, of("/here/scores.py:gain")) is None
    assert difference(stored, of("/here/scores.py:loss")) is not None
    assert difference(stored, of("scores.py:gain")) is None
