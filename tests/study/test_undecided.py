"""Options that nobody has decided are tried, unless the spec says them; begun studies go on with what they had."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lab
from lab.errors import RecordError
from lab.record.spec_file import load_yaml, read_spec
from lab.record.trials import read_trials
from lab.spec.points import template_params
from lab.spec.space import Choice
from lab.spec.study import StudySpec, parse_spec
from lab.stages import bounds
from lab.study.study import Study
from lab.study.undecided import with_undecided
from lab.tasks.images.task import Images
from lab.tasks.load import load_task
from lab.tasks.table.task import Table
from tests.own_data import table, write_folders, write_table
from tests.own_studies import own_spec
from tests.small import lab as command
from tests.small import write_yaml

LINE = "space    flip: tried with and without (task.flip: true or false decides it)"
OWN = "import lab\nclass Mine(lab.Images):\n    def __init__(self, path):\n        super().__init__(path)\n"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_folders(tmp_path / "photos", each=30)


def images(photos: Path, **options: Any) -> dict[str, Any]:
    return {"kind": "images", "path": str(photos), **options}


def spec(photos: Path, **options: Any) -> StudySpec:
    return parse_spec(own_spec(images(photos, **options)))


def test_what_nobody_has_decided_is_searched(photos: Path):
    searched = with_undecided(spec(photos))
    assert searched.space["flip"] == Choice((False, True))
    assert with_undecided(searched) == searched
    assert with_undecided(spec(photos, flip="auto")).space["flip"] == Choice((False, True))
    assert template_params(searched.space)["flip"] is False, "what a range test takes"


@pytest.mark.parametrize("flip", [True, False])
def test_what_the_spec_says_is_not_searched(photos: Path, flip: bool):
    assert with_undecided(spec(photos, flip=flip)) == spec(photos, flip=flip)


def test_what_is_searched_already_stays_as_it_is(photos: Path):
    value = own_spec(images(photos))
    asked = parse_spec(value | {"space": {**value["space"], "flip": {"choice": [True]}}})
    assert with_undecided(asked).space == asked.space


def test_another_task_has_nothing_undecided(tmp_path: Path):
    asked = parse_spec(own_spec({"kind": "digits"}))
    assert with_undecided(asked) == asked


def test_without_a_trials_word_nothing_is_mirrored(photos: Path):
    for options, mirrored in (({}, 0), ({"flip": True}, 0.5), ({"flip": False}, 0)):
        draws = Images(str(photos), **options).draw(400, np.random.default_rng(0), {})
        assert draws[:, 0].mean() == pytest.approx(mirrored, abs=0.1)


def test_check_shows_what_is_tried(photos: Path, tmp_path: Path):
    path = write_yaml(tmp_path / "s.yaml", own_spec(images(photos)))
    shown = command("study", "check", path)
    assert shown.returncode == 0, shown.stderr
    assert LINE in shown.stdout.splitlines()
    resolved = load_yaml(shown.stdout.split("\n\n")[0], "check")
    assert resolved["space"]["flip"] == {"choice": [False, True]}
    decided = command("study", "check", path, "--set", "task.flip=false")
    assert "flip: tried" not in decided.stdout
    refused = command("study", "check", path, "--set", "task.flip=perhaps")
    assert refused.returncode == 2
    assert refused.stderr.strip().endswith("task.flip: 'perhaps' is not true or false, or auto")


def test_a_study_tries_it_and_says_so(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    asked = parse_spec(own_spec(images(photos)))
    study = Study.from_spec(asked, tmp_path / "run")
    study.run(until="explore", quiet=False)
    assert "flip: tried with and without" in "".join(capsys.readouterr())
    assert read_spec(study.record.spec_path).space["flip"] == Choice((False, True))
    assert {row.params["flip"] for row in read_trials(study.record, "explore")} == {False, True}
    # The same spec, and the folder alone, go on with it; a spec that decides is another study.
    Study.from_spec(asked, tmp_path / "run").run(until="confirm")
    Study.open(tmp_path / "run").run()
    assert len(read_trials(Study.open(tmp_path / "run").record, "explore")) == 4
    with pytest.raises(RecordError, match="holds another study"):
        Study.from_spec(spec(photos, flip=False), tmp_path / "run").run()


def test_a_range_test_mirrors_nothing(photos: Path, tmp_path: Path):
    value = own_spec(images(photos))
    value["space"] = {**value["space"], "max_lr": {"from": "bounds"}}
    value["bounds"] = {"seeds": 2, "weight_decays": [0.01], "steps": 30}
    study = Study.from_spec(parse_spec(value), tmp_path / "run")
    study.run(until="bounds")
    assert bounds.STAGE.need(study.record).trials == 2
    assert {row.params["flip"] for row in read_trials(study.record, "bounds")} == {False}


def test_a_study_of_a_task_object_tries_it(photos: Path, tmp_path: Path):
    value = own_spec({})
    kept = {name: value[name] for name in ("batch_size", "search", "confirm", "final", "execution")}
    study = lab.Study(Images(str(photos)), value["space"], folder=tmp_path / "run", **kept)
    study.run(until="explore")
    assert {row.params["flip"] for row in read_trials(study.record, "explore")} == {False, True}
    lab.Study(Images(str(photos)), value["space"], folder=tmp_path / "run", **kept).run(until="explore")


def test_a_task_of_ones_own_that_builds_on_images_tries_it_too(photos: Path, tmp_path: Path):
    (tmp_path / "mine.py").write_text(OWN)
    value = own_spec({"kind": f"{tmp_path}/mine.py:Mine", "root": "/", "path": str(photos)})
    path = write_yaml(tmp_path / "s.yaml", value)
    assert "flip" not in command("study", "check", path).stdout, "its code is not run to know"
    study = Study.from_spec(parse_spec(value), tmp_path / "run")
    study.run(until="explore")
    assert {row.params["flip"] for row in read_trials(study.record, "explore")} == {False, True}


def _as_begun_before(folder: Path, line: str = "flip: true") -> None:
    """Make a study's spec what an earlier version wrote, which did what the line says where the spec did not say."""
    path = folder / "study.yaml"
    text = path.read_text()
    assert text.count(f"\n  {line}\n") == 1
    path.write_text(text.replace(f"\n  {line}\n", "\n"))


def test_a_study_begun_by_an_earlier_version_goes_on_mirroring(photos: Path, tmp_path: Path):
    Study.from_spec(spec(photos, flip=True), tmp_path / "said").run(until="explore")
    shutil.copytree(tmp_path / "said", tmp_path / "before")
    _as_begun_before(tmp_path / "before")
    Study.from_spec(spec(photos), tmp_path / "before").run(until="confirm")  # by its spec
    Study.open(tmp_path / "before").run()  # and by its folder
    Study.open(tmp_path / "said").run()
    for stage in ("confirm", "final"):
        rows = [read_trials(Study.open(tmp_path / name).record, stage) for name in ("said", "before")]
        assert [(row.params, row.score) for row in rows[0]] == [(row.params, row.score) for row in rows[1]]
        assert "flip" not in rows[1][0].params
    assert "flip" not in (tmp_path / "before" / "study.yaml").read_text()


def test_one_of_a_task_object_too(photos: Path, tmp_path: Path):
    value = own_spec({})
    kept = {name: value[name] for name in ("batch_size", "search", "confirm", "final", "execution")}
    lab.Study(Images(str(photos), flip=True), value["space"], folder=tmp_path / "run", **kept).run(until="explore")
    task = Images(str(photos))
    lab.Study(task, value["space"], folder=tmp_path / "run", **kept).run(until="confirm")
    assert task.assumed == {"flip": True}
    assert {row.params.get("flip") for row in read_trials(Study.open(tmp_path / "run").record, "confirm")} == {None}


def test_a_task_of_ones_own_that_takes_no_such_option_too(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "mine.py").write_text(OWN)
    value = own_spec({"kind": f"{tmp_path}/mine.py:Mine", "root": "/", "path": str(photos)})
    with monkeypatch.context() as earlier:
        earlier.setattr("lab.study.going_on.with_undecided", lambda spec: spec)
        Study.from_spec(parse_spec(value), tmp_path / "run").run(until="explore")
    study = Study.from_spec(parse_spec(value), tmp_path / "run")
    study.run(until="confirm")
    task: Any = load_task(study.spec.task)
    assert task.assumed == {"flip": True}
    assert task.draw(400, np.random.default_rng(0), {})[:, 0].any()
    assert not task.draw(400, np.random.default_rng(0), {"flip": False})[:, 0].any()


def test_a_warm_start_from_an_earlier_version_says_what_its_trials_did(photos: Path, tmp_path: Path):
    Study.from_spec(spec(photos, flip=True), tmp_path / "before").run(until="explore")
    _as_begun_before(tmp_path / "before")
    study = Study.from_spec(spec(photos), tmp_path / "run")
    study.run(until="explore", warm_start=tmp_path / "before")
    from lab.stages import warm_start

    assert {one.params["flip"] for one in warm_start.observed_before(study.record, study.spec.space)} == {True}


@pytest.fixture
def rows(tmp_path: Path) -> dict[str, Any]:
    path = write_table(tmp_path / "table.csv", table(90))
    return {"kind": "table", "path": str(path), "target": "answer", "layers": [8]}


def test_the_bins_of_a_table_are_tried_too(rows: dict[str, Any], tmp_path: Path):
    path = write_yaml(tmp_path / "s.yaml", own_spec(rows))
    shown = command("study", "check", path)
    assert "space    bins: tried with and without (task.bins: 0 or 16 decides it)" in shown.stdout.splitlines()
    decided = command("study", "check", path, "--set", "task.bins=0")
    assert "bins: tried" not in decided.stdout
    study = Study.from_spec(parse_spec(own_spec(rows)), tmp_path / "run")
    study.run()
    assert read_spec(study.record.spec_path).space["bins"] == Choice((16, 0))
    assert {row.params["bins"] for row in read_trials(study.record, "explore")} == {0, 16}
    predicted = command("predict", tmp_path / "run", "--input", rows["path"])
    assert predicted.returncode == 0, predicted.stderr
    assert len(predicted.stdout.splitlines()) == 91


def test_a_study_of_a_table_begun_by_an_earlier_version_goes_on_with_bins(rows: dict[str, Any], tmp_path: Path):
    Study.from_spec(parse_spec(own_spec(rows | {"bins": 16})), tmp_path / "said").run(until="explore")
    shutil.copytree(tmp_path / "said", tmp_path / "before")
    _as_begun_before(tmp_path / "before", "bins: 16")
    Study.from_spec(parse_spec(own_spec(rows)), tmp_path / "before").run(until="confirm")  # by its spec
    Study.open(tmp_path / "before").run()  # and by its folder
    Study.open(tmp_path / "said").run()
    for stage in ("confirm", "final"):
        trials = [read_trials(Study.open(tmp_path / name).record, stage) for name in ("said", "before")]
        assert [(row.params, row.score) for row in trials[0]] == [(row.params, row.score) for row in trials[1]]
        assert "bins" not in trials[1][0].params
    said, before = (command("predict", tmp_path / name, "--input", rows["path"]) for name in ("said", "before"))
    assert before.stdout == said.stdout != ""


def test_one_of_a_table_object_too(rows: dict[str, Any], tmp_path: Path):
    value = own_spec({})
    kept = {name: value[name] for name in ("batch_size", "search", "confirm", "final", "execution")}
    options = {name: option for name, option in rows.items() if name != "kind"}
    lab.Study(Table(**options, bins=16), value["space"], folder=tmp_path / "run", **kept).run(until="explore")
    lab.Study(Table(**options), value["space"], folder=tmp_path / "run", **kept).run(until="confirm")
    assert {row.params.get("bins") for row in read_trials(Study.open(tmp_path / "run").record, "confirm")} == {None}
