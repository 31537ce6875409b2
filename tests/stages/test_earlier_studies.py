"""The settings of other studies are a new one's first trials, whatever they were trained on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from lab.errors import SpecError
from lab.record.folder import Record, read_json
from lab.record.trials import read_trials
from lab.spec.study import parse_spec
from lab.stages import earlier_studies, explore
from lab.stages.earlier_studies import earlier_in
from lab.stages.explore import WarmStart
from lab.study.study import Study
from tests.small import lab, write_yaml

TASK = '''"""Scores that are best at different rates."""
from collections.abc import Iterator
import math
import lab

@lab.trial_function(metric="score", direction="maximize")
def {name}(trial: lab.Trial) -> Iterator[dict[str, float]]:
    yield {{"score": -abs(math.log10(trial.params["max_lr"]) - {best})}}
'''
WIDE = {"low": 1e-4, "high": 10.0, "log": True}


def value(home: Path, task: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": task,
        "task": {"kind": f"{home}/{task}.py:{task}", "root": "/"},
        "space": {"max_lr": WIDE},
        "search": {"sampler": {"kind": "forest", "startup": 4}, "trials": 8, "epochs": 1},
        "confirm": {"one_cycle": 1, "several": 0, "seeds": 2},
        "execution": {"engine": "local", "lanes": 1},
    } | changes


SPACE = {"max_lr": WIDE}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three studies that have ended, one that has not, and what is no study."""
    folder = tmp_path_factory.mktemp("home")
    for name, best in (("one", -2), ("two", 0), ("three", -2), ("new", -1)):
        (folder / f"{name}.py").write_text(TASK.format(name=name, best=best))
    for name in ("one", "two"):
        spec = parse_spec(value(folder, name, space=SPACE))
        Study.from_spec(spec, folder / "runs" / name).run(until="confirm")
    Study.from_spec(parse_spec(value(folder, "three", space=SPACE)), folder / "runs" / "three").run(until="bounds")
    (folder / "runs" / "notes").mkdir()
    (folder / "runs" / "file.txt").write_text("no study")
    return folder


def confirmed(home: Path, name: str) -> Any:
    return Study.open(home / "runs" / name).result.best_params["max_lr"]


def test_they_are_the_first_trials_the_last_study_first(home: Path, tmp_path: Path) -> None:
    study = Study.from_spec(parse_spec(value(home, "new", space=SPACE)), tmp_path / "run")
    study.run(until="explore", warm_start=home / "runs")
    rows = read_trials(study.record, "explore")
    assert len(rows) == 8, "they take their share of the trials"
    assert [row.params["max_lr"] for row in rows[:2]] == [confirmed(home, "two"), confirmed(home, "one")]
    assert rows[2].params["max_lr"] not in (confirmed(home, "one"), confirmed(home, "two"))
    warm_start = explore.STAGE.need(study.record).warm_start
    assert warm_start == WarmStart(str(home / "runs"), read=0, used=0, settings=2)
    assert "2 settings of the studies in" in warm_start.line


def test_an_interrupted_one_goes_on_as_if_undisturbed(home: Path, tmp_path: Path) -> None:
    spec = parse_spec(value(home, "new", space=SPACE))
    whole, begun = (Study.from_spec(spec, tmp_path / name) for name in ("whole", "begun"))
    runs = tmp_path / "runs"
    shutil.copytree(home / "runs", runs, copy_function=shutil.copy2)
    whole.run(until="explore", warm_start=runs)
    begun.run(until="bounds", warm_start=runs)
    shutil.rmtree(runs)  # what was read is kept
    Study.open(tmp_path / "begun").run(until="explore")
    first, second = (read_trials(study.record, "explore") for study in (whole, begun))
    assert [(row.params, row.score) for row in first] == [(row.params, row.score) for row in second]
    Study.from_spec(spec, tmp_path / "whole").run(until="explore", warm_start=runs)  # the same command again


def test_what_the_new_space_lacks_is_left_out_and_the_rest_is_proposed(home: Path, tmp_path: Path) -> None:
    space = {"max_lr": {"low": 0.1, "high": 10.0, "log": True}, "momentum": {"low": 0.5, "high": 0.9}}
    spec = parse_spec(value(home, "new", space=space))
    (one,) = earlier_in(home / "runs", spec.space, spec.search, Record(tmp_path / "run"))
    assert one.folder.name == "two", "the other's rate lies outside"
    assert one.setting.keys() == {"max_lr"}
    study = Study.from_spec(spec, tmp_path / "run")
    study.run(until="explore", warm_start=home / "runs")
    first = read_trials(study.record, "explore")[0]
    assert first.params["max_lr"] == one.setting["max_lr"]
    assert 0.5 <= float(first.params["momentum"]) <= 0.9


def test_at_most_a_quarter_of_the_trials_is_theirs_and_its_own_is_not(home: Path) -> None:
    spec = parse_spec(value(home, "new", space=SPACE))
    few = spec.search.model_copy(update={"trials": 4})
    assert [one.folder.name for one in earlier_in(home / "runs", spec.space, few, Record(home / "other"))] == ["two"]
    others = earlier_in(home / "runs", spec.space, spec.search, Record(home / "runs" / "two"))
    assert [one.folder.name for one in others] == ["one"]


def test_of_a_damaged_study_is_taken_what_can_be_read(home: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(home / "runs", runs, copy_function=shutil.copy2)
    spec = parse_spec(value(home, "new", space=SPACE))
    Record(runs / "two").artefact_path("confirm").write_text("{")
    best = read_json(Record(runs / "two").artefact_path("explore"))["best"]["params"]
    two, one = earlier_in(runs, spec.space, spec.search, Record(tmp_path / "run"))
    assert (two.folder.name, one.folder.name) == ("two", "one")
    assert two.setting == {"max_lr": best["max_lr"]}
    Record(runs / "two").artefact_path("explore").write_text("{")
    (one,) = earlier_in(runs, spec.space, spec.search, Record(tmp_path / "run"))
    assert one.folder.name == "one"


@pytest.mark.parametrize("kind", ["tpe", "random"])
def test_any_sampler_goes_on_from_them(kind: str, home: Path, tmp_path: Path) -> None:
    search = {"sampler": {"kind": kind}, "trials": 8, "epochs": 1}
    study = Study.from_spec(parse_spec(value(home, "new", space=SPACE, search=search)), tmp_path / "run")
    study.run(until="explore", warm_start=home / "runs")
    assert read_trials(study.record, "explore")[0].params["max_lr"] == confirmed(home, "two")


def test_no_setting_for_the_space_is_one_line_and_leaves_nothing(home: Path, tmp_path: Path) -> None:
    spec = parse_spec(value(home, "new", space={"max_lr": {"low": 20.0, "high": 30.0}}))
    with pytest.raises(SpecError, match=r"no study in .* has ended its search with a setting of max_lr in"):
        Study.from_spec(spec, tmp_path / "run").run(warm_start=home / "runs")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_looked_into_is_one_line_and_leaves_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shut(folder: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(earlier_studies, "holds_studies", shut)
    spec = parse_spec(value(home, "new", space=SPACE))
    with pytest.raises(SpecError, match=r"^--warm-start: .* cannot be read \(Permission denied\)$"):
        Study.from_spec(spec, tmp_path / "run").run(warm_start=home / "runs")
    assert not (tmp_path / "run").exists()


def test_what_is_no_path_is_named(home: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="warm_start: 3 is not the path of a folder"):
        Study.from_spec(parse_spec(value(home, "new", space=SPACE)), tmp_path / "run").run(warm_start=3)  # type: ignore[arg-type]


def test_the_command_line_says_whose_they_are(home: Path, tmp_path: Path) -> None:
    path = write_yaml(tmp_path / "study.yaml", value(home, "new", space=SPACE))
    done = lab("study", "run", path, "--dir", tmp_path / "run", "--warm-start", home / "runs", "--until", "explore")
    assert done.returncode == 0, done.stderr
    assert "with 2 settings tried first, those of two, one" in done.stdout + done.stderr
    refused = lab("study", "run", path, "--dir", tmp_path / "x", "--warm-start", home / "runs" / "notes")
    assert refused.returncode == 2
    assert len(refused.stderr.strip().splitlines()) == 1
