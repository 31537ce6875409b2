"""A kill at any change of a file, of any command: the command run again gives what an undisturbed one gives."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lab.cli.main import app
from lab.record import spec_file
from lab.record.folder import Record
from lab.record.trials import read_stages, read_trials
from lab.report import page
from lab.spec.search import SearchSpec
from lab.spec.study import StudySpec, parse_spec
from lab.stages import STAGES, TRAINS
from lab.study import going_on
from lab.study.extend import extend, finish
from lab.study.study import Study
from tests.killed import States
from tests.outcome import NAMES, outcome_of
from tests.small import write_yaml

_TASK = """
import torch
import lab


class Tiny(lab.Task):
    def data(self, split):
        first, last = {"train": (0, 16), "valid": (16, 24), "test": (24, 32)}[split]
        x = torch.linspace(-1, 1, 32)[torch.arange(32) * 13 % 32][first:last, None]
        return x, (x[:, 0] > 0).long()

    def model(self, params):
        return torch.nn.Linear(1, 2)
"""
_STUDY = {
    "name": "tiny",
    "space": {"max_lr": {"from": "bounds"}, "cycles": {"choice": [1, 2]}},
    "batch_size": 4,
    "bounds": {"seeds": 1, "weight_decays": [0.01], "steps": 30, "start": 1e-3},
    "search": {"sampler": {"kind": "optuna:RandomSampler"}, "trials": 2, "epochs": 2},
    "confirm": {"one_cycle": 1, "several": 0, "seeds": 2},
    "final": {"epochs": 1, "seeds": 1, "snapshots": 1, "refit_seeds": 1, "controls": "none"},
    "execution": {
        "engine": "local",
        "path": "sequential",
        "lanes": 1,
        "width": 1,
        "stack": 1,
        "threads": 1,
        "checkpoint_s": 1e-3,
    },
}
_CONCLUSIONS = {"explore", "response", "confirm", "final", "ensemble", "refit", "report", "trials"}
"""The names, without endings, of what more trials make out of date."""


def _spec(folder: Path, **search: Any) -> StudySpec:
    value: dict[str, Any] = {**_STUDY, "task": f"{folder / 'task.py'}:Tiny"}
    return parse_spec({**value, "search": {**value["search"], **search}})


@pytest.fixture(autouse=True)
def _specs_are_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading YAML takes half of the time of a study that trains next to nothing, and its text is mostly the same."""
    parse = cache(spec_file.load_yaml)
    monkeypatch.setattr(going_on, "provenance", dict)  # it asks git each time
    monkeypatch.setattr(spec_file, "load_yaml", lambda text, source: deepcopy(parse(text, source)))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the task's file and inputs for it, and `whole`, the study that nothing disturbed."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "task.py").write_text(_TASK)
    (folder / "inputs.csv").write_text("x\n-0.5\n0.5\n")
    write_yaml(folder / "study.yaml", _spec(folder).model_dump(mode="json"))
    Study.from_spec(_spec(folder), folder / "whole").run()
    return folder


def _command(*arguments: object) -> str:
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def _left(folder: Path) -> dict[str, bytes]:
    """The bytes of every file but locks and what a kill left half-written."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _killed(root: Path, command: Callable[[], object], into: Path) -> list[Path]:
    into.mkdir()
    states = States(root, into)
    states.left_by(command)
    return states.folders


def _stage_at(record: Record) -> str:
    """The stage that a study is at; the last where all are complete."""
    return next((stage.name for stage in STAGES if not stage.is_complete(record)), NAMES[-1])


def _go_on(tiny: Path, folder: Path, until: str) -> None:
    """The command that was killed, run again; or, where its study can be seen, the one that goes on with it."""
    record = Record(folder)
    (Study.open(folder) if record.exists() else Study.from_spec(_spec(tiny), folder)).run(until=until)


@pytest.mark.slow
def test_a_run_killed_at_any_change_of_a_file_ends_as_an_undisturbed_one(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A stage that was killed is run to its end. The study is then in a state in which the next stage begins anyway, so
    each stage's kills stand for those of the whole study."""
    root = tmp_path / "killed"
    root.mkdir()
    states = _killed(root, lambda: Study.from_spec(_spec(tiny), root / "run").run(), tmp_path / "states")
    monkeypatch.setattr(page, "write_report", lambda *_: "")  # the report has a test of its own, and takes a second
    wanted = {stage: outcome_of(tiny / "whole", stage) for stage in NAMES}
    reached: Counter[str] = Counter()
    for number, state in enumerate(states):
        stage = _stage_at(Record(state / "run"))
        reached[stage] += 1
        until = NAMES[-1] if number == len(states) // 2 else stage
        _go_on(tiny, state / "run", until)
        assert outcome_of(state / "run", until) == wanted[until], (number, stage)
    assert len(states) > 90
    assert list(reached) == NAMES


@pytest.mark.slow
def test_a_resume_killed_at_any_change_of_a_file_ends_as_an_undisturbed_one(tiny: Path, tmp_path: Path):
    root = tmp_path / "killed"
    root.mkdir()
    Study.from_spec(_spec(tiny), root / "run").run(until="bounds")
    states = _killed(root, lambda: Study.open(root / "run").run(until="explore"), tmp_path / "states")
    wanted = outcome_of(tiny / "whole", "explore")
    for number, state in enumerate(states):
        Study.open(state / "run").run(until="explore")
        assert outcome_of(state / "run", "explore") == wanted, number


@pytest.mark.slow
def test_an_extension_killed_at_any_change_of_a_file_loses_nothing(tiny: Path, tmp_path: Path):
    before = _left(tiny / "whole")
    moved = {name for name in before if name.partition("/")[0].partition(".")[0] in _CONCLUSIONS}
    kept = {stage: read_trials(Record(tiny / "whole"), stage) for stage in ("bounds", "explore")}
    root = tmp_path / "killed"
    shutil.copytree(tiny / "whole", root / "run")
    record = Record(root / "run")
    search = {**Study.open(record.folder).spec.search.model_dump(), "trials": 3}
    longer = Study.open(record.folder).spec.model_copy(update={"search": SearchSpec(**search)})
    went_on: dict[int, list[Path]] = {2: [], 3: []}
    """States, by the trials of the study that goes on: as it was, or as it was to be."""
    for number, state in enumerate(_killed(root, lambda: extend(record, longer), tmp_path / "states")):
        # Whoever finishes it may be killed too.
        finished = tmp_path / f"finished {number}"
        for folder in [state, *_killed(state, lambda state=state: finish(Record(state / "run")), finished)]:
            left = Record(folder / "run")
            finish(left)
            trials = Study.open(left.folder).spec.search.trials
            files = _left(left.folder)
            if trials == 2:
                assert files == before, folder
            else:
                aside = {n.partition("/")[2]: value for n, value in files.items() if n.startswith("before-2-trials/")}
                assert aside == {name: before[name] for name in moved}, folder
                assert not moved & files.keys(), folder
                now = read_stages(left, TRAINS)
                assert now == {**kept, "confirm": [], "final": [], "refit": []}, folder
        went_on[trials].append(state)
    assert len(went_on[2]) > 3
    assert len(went_on[3]) > 10
    for trials, states in went_on.items():
        left = Record(states[-1] / "run")
        Study.open(left.folder).run()
        rows = read_trials(left, "explore")
        assert rows[:2] == kept["explore"]
        assert len(rows) == trials
        assert moved <= _left(left.folder).keys()


def test_a_report_killed_at_any_change_of_a_file_is_written_again(tiny: Path, tmp_path: Path):
    shutil.copytree(tiny / "whole", tmp_path / "killed" / "run")
    whole = _left(tiny / "whole")
    path = tmp_path / "killed" / "run" / Record.REPORT
    path.unlink()
    command = partial(_command, "study", "report", path.parent)
    states = _killed(path.parent, command, tmp_path / "states")
    written = _left(path.parent)
    assert written.keys() == whole.keys()
    assert len(states) > 1
    for state in states:
        _command("study", "report", state)
        left = _left(state)
        assert left.keys() == written.keys()
        assert _plain(left[Record.REPORT], state) == _plain(written[Record.REPORT], path.parent)


def test_predictions_killed_at_any_change_of_a_file_are_written_again(tiny: Path, tmp_path: Path):
    root = tmp_path / "killed"
    root.mkdir()
    arguments = ("predict", tiny / "whole", "--input", tiny / "inputs.csv", "--output")
    before = _left(tiny / "whole")
    (root / "out.csv").write_text("old")
    states = _killed(root, partial(_command, *arguments, root / "out.csv"), tmp_path / "states")
    written = (root / "out.csv").read_bytes()
    assert len(written.splitlines()) == 3
    assert len(states) > 1
    for state in states:
        assert (state / "out.csv").read_bytes() in (b"old", written)
        _command(*arguments, state / "out.csv")
        assert _left(state) == {"out.csv": written}
    assert _left(tiny / "whole") == before


def test_a_range_test_killed_at_any_change_of_a_file_says_the_same_again(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root = tmp_path / "killed"
    root.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(root))
    arguments = ("lr-range", tiny / "study.yaml", "--seeds", "1", "--plot")
    said: list[str] = []
    states = _killed(root, lambda: said.append(_command(*arguments, root / "plot.html")), tmp_path / "states")
    written = (root / "plot.html").read_bytes()
    assert [path.name for path in root.iterdir()] == ["plot.html"]
    for state in states[:: len(states) // 5]:  # a range test looks for nothing that another has left
        monkeypatch.setattr(tempfile, "tempdir", str(state))
        assert _command(*arguments, state / "plot.html") == said[0]
        assert _plain((state / "plot.html").read_bytes(), state) == _plain(written, root)


def _plain(page: bytes, folder: Path) -> bytes:
    """Without the identifier that plotly draws for each figure, and without the folder."""
    return re.sub(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", b"", page).replace(str(folder).encode(), b"")
