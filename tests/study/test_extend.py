"""A finished study goes on: more trials, the old ones kept, conclusions made anew."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from lab.errors import RecordError, SpecError
from lab.record.folder import Record, read_json, write_json
from lab.record.spec_file import dump_spec
from lab.record.trials import read_trials
from lab.spec.study import StudySpec, parse_spec
from lab.study.extend import extend
from lab.study.prune import prune
from lab.study.study import Study
from tests.small import lab, small

_CONCLUSIONS = (
    "explore.json",
    "response.json",
    "confirm.json",
    "final.json",
    "ensemble.json",
    "refit.json",
    "final",
    "refit",
    "report.html",
    "trials.parquet",
)
"""What more trials make out of date."""


def spec(**changes: Any) -> StudySpec:
    space = {
        "max_lr": {"low": 1e-3, "high": 0.1, "log": True},
        "cycles": {"choice": [1, 2]},
        "dropout": {"low": 0.0, "high": 0.3},
    }
    base = {"space": space, "search": {"trials": 6, "epochs": 2}, "final": {"epochs": 2, "seeds": 1, "snapshots": 2}}
    merged = {name: {**value, **changes.get(name, {})} for name, value in base.items()}
    return parse_spec(small(**merged, **{k: v for k, v in changes.items() if k not in merged}))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("extension") / "study"
    Study.from_spec(spec(), folder).run()
    return folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Record:
    return Record(Path(shutil.copytree(finished, tmp_path / "study")))


def stored(record: Record, **changes: Any) -> StudySpec:
    """The stored spec with changes, as the command makes it."""
    kept = Study.open(record.folder).spec
    return parse_spec(kept.model_dump(mode="json") | changes)


def test_more_trials_are_added_to_those_there_are(copy: Record):
    old = read_trials(copy, "explore")
    conclusion = read_json(copy.artefact_path("ensemble"))
    prune(Study.open(copy.folder), str)  # nothing that is made anew needs what is gone
    done = lab("study", "extend", copy.folder, "--trials", "+4", "--set", "space.dropout.high=0.6")
    assert done.returncode == 0, done.stderr
    rows = read_trials(copy, "explore")
    assert len(rows) == 10
    assert [(r.number, r.params, r.trial.seed, r.score) for r in rows[:6]] == [
        (r.number, r.params, r.trial.seed, r.score) for r in old
    ]
    assert read_json(copy.artefact_path("explore"))["trials"] == 10
    assert len(read_trials(copy, "confirm")) <= 4 * 2
    aside = copy.folder / "before-6-trials"
    assert read_json(aside / "ensemble.json") == conclusion
    assert list((aside / "final").glob("*.safetensors"))
    assert (copy.folder / "report.html").exists()
    assert not list((copy.folder / "lanes").glob("*.safetensors")), "every stage has ended"
    assert Study.open(copy.folder).spec.space["dropout"].high == 0.6  # type: ignore[union-attr]
    kept = {path.name for path in copy.final_folder.glob("*.safetensors")}
    assert kept == {name for run in read_json(copy.artefact_path("final"))["runs"] for name in run["snapshots"]}


def test_trials_of_other_numbers_do_not_go_on_from_what_lanes_had_saved(copy: Record):
    names = [f"{name}.safetensors" for name in ("explore-7", "confirm-7", "confirm-moved-3", "final-7")]
    for name in names:
        (copy.folder / "lanes" / name).touch()
    extend(copy, stored(copy, search={**stored(copy).search.model_dump(), "trials": 9}))
    assert [path.name for path in (copy.folder / "lanes").glob("*.safetensors")] == names[:1]


def _content(folder: Path) -> dict[str, bytes]:
    """The bytes of every file but locks and what a kill left half-written."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_what_an_earlier_version_put_aside_before_it_was_killed_is_taken_back(copy: Record):
    before = _content(copy.folder)
    aside = copy.folder / "before-6-trials"
    aside.mkdir()
    for name in _CONCLUSIONS:
        (copy.folder / name).rename(aside / name)
    done = lab("study", "resume", copy.folder)
    assert done.returncode == 0, done.stderr
    after = _content(copy.folder)
    assert after.keys() == before.keys()
    remade = {"study.yaml", "report.html"}
    assert {n: v for n, v in after.items() if n not in remade} == {n: v for n, v in before.items() if n not in remade}


def test_a_damaged_note_of_an_extension_is_refused_in_one_line(copy: Record):
    write_json(copy.extension_path, {"aside": "../elsewhere", "before": ""})
    refused = lab("study", "resume", copy.folder)
    assert refused.returncode == 2
    assert refused.stderr.strip().endswith("extension.json: names no folder to put aside to; restore it from a copy")
    assert len(refused.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "search.trials: 6 is not above the 6 there are"),
        (["--trials", "5"], "search.trials: 5 is not above the 6 there are"),
        (["--trials", "many"], "--trials: 'many' is neither +N nor a whole number"),
        (["--trials", "+2", "--set", "seed=3"], "seed: cannot change when a study is extended"),
        (["--trials", "+2", "--set", "search.epochs=3"], "search.epochs: cannot change when a study is extended"),
        (["--trials", "+2", "--set", "space.dropout.high=0.2"], "space.dropout: is narrower than 0 to 0.3"),
        (["--trials", "+2", "--set", "space.max_lr.log=false"], "space.max_lr: may become wider, and nothing else"),
        (["--trials", "+2", "--set", "space.cycles={choice: [1]}"], "space.cycles: may become wider"),
        (
            ["--trials", "+2", "--set", "space.beta2={low: 0.9, high: 0.99}"],
            "space: has other hyperparameters than max_lr",
        ),
    ],
)
def test_what_cannot_be_extended_is_refused_and_nothing_touched(finished: Path, arguments: list[str], message: str):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.name != ".driver.lock"}
    done = lab("study", "extend", finished, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.name != ".driver.lock"} == before


def test_a_study_that_runs_is_not_extended(copy: Record):
    with copy.driver_lock(), pytest.raises(RecordError, match="in use"):
        extend(copy, stored(copy))


def test_the_range_test_is_not_asked_afterwards(copy: Record):
    search = {**stored(copy).search.model_dump(), "trials": 9}
    new = stored(copy, space={**_space(stored(copy)), "max_lr": {"from": "bounds"}}, search=search)
    with pytest.raises(SpecError, match="cannot be taken from the range test now"):
        extend(copy, new)


def test_a_study_in_a_database_keeps_its_trials(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'team.db'}"
    folder = tmp_path / "study"
    Study.from_spec(spec(storage=url), folder).run(until="confirm")
    old = read_trials(Record(folder), "explore", Study.open(folder).spec.store)
    done = lab("study", "extend", folder, "--trials", "+2", "--engine", "local")
    assert done.returncode == 0, done.stderr
    rows = read_trials(Record(folder), "explore", Study.open(folder).spec.store)
    assert len(rows) == 8
    assert [r.params for r in rows[:6]] == [r.params for r in old]


def test_a_damaged_ledger_is_refused_before_anything_is_put_aside(tmp_path: Path):
    folder = tmp_path / "study"
    Study.from_spec(spec(), folder).run(until="confirm")
    journal = Record(folder).journal_path
    whole = journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[: len(lines) // 10]))
    refused = lab("study", "extend", folder, "--trials", "+2", "--engine", "local")
    assert refused.returncode == 2
    assert "which had 6; restore it from a copy" in refused.stderr
    assert Record(folder).artefact("confirm") is not None
    assert not list(folder.glob("before-*"))
    journal.write_bytes(whole)
    assert lab("study", "status", folder).returncode == 0


def test_a_study_whose_data_changed_keeps_its_conclusions(tmp_path: Path):
    """A task that splits anew in every process would score its ensemble on what it was trained on."""
    (tmp_path / "task.py").write_text(
        "import os\nimport torch\nfrom lab.tasks.digits import Digits\n"
        "class Anew(Digits):\n"
        "    def __init__(self):\n"
        "        super().__init__(split_seed=int(os.environ['SPLIT']))\n"
    )
    import json

    value = spec(task="task.py:Anew").model_dump(mode="json")
    (tmp_path / "study.yaml").write_text(json.dumps(value))
    folder = tmp_path / "study"
    done = lab("study", "run", tmp_path / "study.yaml", "--dir", folder, "--until", "explore", SPLIT="0")
    assert done.returncode == 0, done.stderr
    for command in (["resume", folder], ["extend", folder, "--trials", "+2"]):
        refused = lab("study", *command, SPLIT="1")
        assert refused.returncode == 2
        assert "the data are not those that the study began with" in refused.stderr
    assert Record(folder).artefact("explore") is not None
    assert not list(folder.glob("before-*"))


def _found_by_bounds(record: Record) -> StudySpec:
    """The same study as if its range of max_lr had come from the range test."""
    silent: dict[str, Any] = {"suggestion": 0.01, "sure": None, "weight_decay": None, "verdict": "", "runs": []}
    write_json(record.artefact_path("bounds"), {"low": 0.001, "high": 0.1, **silent})
    kept = stored(record)
    old = parse_spec({**kept.model_dump(mode="json"), "space": {**_space(kept), "max_lr": {"from": "bounds"}}})
    record.spec_path.write_text(dump_spec(old))
    return old


def _space(spec: StudySpec) -> dict[str, Any]:
    return dict(spec.model_dump(mode="json")["space"])


@pytest.mark.parametrize(
    ("max_lr", "message"),
    [
        ({"low": 1e-4, "high": 1.0}, "space.max_lr: may become wider, and nothing else"),
        ({"low": 0.01, "high": 0.02, "log": True}, "space.max_lr: is narrower than 0.001 to 0.1"),
    ],
)
def test_a_range_that_was_found_is_widened_as_one_that_was_given(max_lr: Any, message: str, copy: Record):
    old = _found_by_bounds(copy)
    more = {"search": {**old.search.model_dump(), "trials": 10}}
    before = copy.spec_path.read_text()
    with pytest.raises(SpecError) as refused:
        extend(copy, stored(copy, space={**_space(old), "max_lr": max_lr}, **more))
    assert str(refused.value).startswith(message)
    assert copy.spec_path.read_text() == before
    wider = {"low": 1e-4, "high": 1.0, "log": True}
    extend(copy, stored(copy, space={**_space(old), "max_lr": wider}, **more))


def test_a_wider_space_without_a_trial_to_search_it_is_refused(copy: Record):
    kept = stored(copy)
    space = {**_space(kept), "dropout": {"low": 0.0, "high": 0.6}}
    with pytest.raises(SpecError, match=r"search\.trials: 6 is not above the 6 there are"):
        extend(copy, stored(copy, space=space))


def test_a_condition_cannot_change_and_a_conditional_range_may_widen(copy: Record):
    old = _found_by_bounds(copy)
    nested = {**_space(old), "depth": {"low": 0.0, "high": 1.0, "when": {"cycles": [2]}}}
    copy.spec_path.write_text(dump_spec(stored(copy, space=nested)))
    more = {"search": {**old.search.model_dump(), "trials": 10}}
    other = {"low": 0.0, "high": 1.0, "when": {"cycles": [1, 2]}}
    with pytest.raises(SpecError, match=r"space\.depth\.when: cannot change"):
        extend(copy, stored(copy, space={**nested, "depth": other}, **more))
    extend(copy, stored(copy, space={**nested, "depth": {**nested["depth"], "high": 2.0}}, **more))
