"""Pruning deletes what a finished study needs no more, and nothing else changes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lab.errors import LabError, RecordError
from lab.record.folder import Record, read_json, write_json
from lab.spec.folder_names import DISTILL, PSEUDO, SUSPECTS, side_folder
from lab.study.prune import prune, spare_in
from lab.study.size import shown
from lab.study.status import status_of
from lab.study.study import Study
from tests.killed import States


@pytest.fixture
def study(small_study: Study, tmp_path: Path) -> Study:
    """A copy of a finished study, in which an earlier version has left a checkpoint."""
    study = Study.open(shutil.copytree(small_study.record.folder, tmp_path / "study"))
    (study.record.lanes_folder / "final-0.safetensors").write_bytes(b"state")
    return study


def _left(record: Record) -> dict[str, bytes]:
    files = (path for path in record.folder.rglob("*") if path.is_file() and path.name != Record.LOCK)
    return {str(path.relative_to(record.folder)): path.read_bytes() for path in files}


def _members(record: Record) -> set[str]:
    chosen, refitted = (read_json(record.artefact_path(name)) for name in ("ensemble", "refit"))
    files = {"final": chosen["chosen"]["members"], "refit": refitted["members"]}
    return {f"{folder}/{member['file']}" for folder, members in files.items() for member in members}


def _weights(record: Record) -> set[str]:
    return {name for name in _left(record) if name.startswith(("final/", "refit/"))}


def test_what_is_handed_out_stays_and_works_as_before(study: Study) -> None:
    record, said = study.record, list[str]()
    before, x = _left(record), torch.rand(5, 64)
    predicted, status = study.result.ensemble.predict(x), status_of(study)
    weights = _weights(record)
    assert weights > _members(record)
    prune(study, said.append)
    after = _left(record)
    assert _weights(record) == _members(record)
    assert before.keys() - after.keys() == (weights - _members(record)) | {"lanes/final-0.safetensors"}
    assert {name: before[name] for name in after} == after
    freed = sum(len(before[name]) for name in before.keys() - after.keys())
    assert said[-1] == f"{shown(freed)} freed"
    assert [line.split()[0] for line in said[:-1]] in (["final", "lanes"], ["final", "refit", "lanes"])
    pruned = Study.open(record.folder)
    assert torch.equal(pruned.result.ensemble.predict(x), predicted)
    assert status_of(pruned) == status
    pruned.run()  # resumed: every stage is complete
    assert _weights(record) == _members(record)
    prune(pruned, said.append)
    assert said[-1] == "there is nothing to free"


def test_a_dry_run_says_the_same_and_deletes_nothing(study: Study) -> None:
    before, dry, wet = _left(study.record), list[str](), list[str]()
    prune(study, dry.append, dry_run=True)
    assert _left(study.record) == before
    prune(study, wet.append)
    assert dry[:-1] == wet[:-1]
    assert dry[-1] == wet[-1].replace("freed", "would be freed")


def test_without_a_refit_the_chosen_models_stay(study: Study) -> None:
    write_json(study.record.artefact_path("refit"), {"skipped": "final.refit is false"})
    prune(study, str)
    chosen = read_json(study.record.artefact_path("ensemble"))["chosen"]["members"]
    assert _weights(study.record) == {f"final/{member['file']}" for member in chosen}
    assert len(study.result.ensemble.predict(torch.rand(2, 64))) == 2


def test_what_is_no_snapshot_stays(study: Study) -> None:
    names = ("final/notes.txt", "final/mine.safetensors", "refit/linear-model.skops", "lanes/widths.json")
    for name in names:
        (study.record.folder / name).write_text("mine")
    (study.record.final_folder / "0000-7.safetensors").mkdir()
    prune(study, str)
    assert {(study.record.folder / name).read_text() for name in names} == {"mine"}


def test_what_was_trained_beside_it_and_interrupted_goes(study: Study) -> None:
    folder = study.record.folder
    interrupted = [folder / side_folder(what, "a question") for what in (SUSPECTS, DISTILL, PSEUDO)]
    for work in interrupted:
        (work / "weights").mkdir(parents=True)
        (work / "weights" / "0000-0.safetensors").write_bytes(b"weights")
    kept = [folder / "suspects.csv", folder / "distill-mine" / "model.pt2"]
    kept[1].parent.mkdir()
    for path in kept:
        path.write_text("mine")
    said = list[str]()
    prune(study, said.append, dry_run=True)
    assert all(work.is_dir() for work in interrupted)
    prune(study, said.append)
    assert f"{interrupted[0].name} 1 files, 7 B: of an interrupted `suspects`, which would begin anew" in said
    assert not any(work.exists() for work in interrupted)
    assert all(path.read_text() == "mine" for path in kept)


def _foreign(study: Study) -> None:
    (study.record.folder / Record.TRUST).unlink()


def _incomplete(study: Study) -> None:
    study.record.artefact_path("ensemble").unlink()


def _half_extended(study: Study) -> None:
    write_json(study.record.extension_path, {"aside": "before-12-trials", "before": ""})


def _linked_folder(study: Study) -> None:
    aside = study.record.folder.with_name("elsewhere")
    study.record.final_folder.rename(aside)
    study.record.final_folder.symlink_to(aside)


def _linked_beside(study: Study) -> None:
    (study.record.folder / side_folder(DISTILL, "a question")).symlink_to(study.record.final_folder)


def _linked_file(study: Study) -> None:
    path = next(study.record.final_folder.glob("*.safetensors"))
    path.unlink()
    path.symlink_to(study.record.spec_path)


def _lacking(study: Study) -> None:
    for name in _members(study.record):
        (study.record.folder / name).unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_foreign, "you have not begun this study here, so it is only looked at; if you trust"),
        (_incomplete, "stage 'ensemble' has not run; only a finished study is pruned"),
        (_half_extended, "is being extended; resume the study first"),
        (_linked_folder, "final: is a link, and nothing is deleted through one"),
        (_linked_beside, "is a link, and nothing is deleted through one"),
        (_linked_file, "is a link, and would be written through; put a file in its place"),
        (_lacking, "is missing, and is not to be had again; restore it from a copy"),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_another_folder_than_a_finished_study_is_refused_and_nothing_deleted(
    change: Callable[[Study], None], message: str, dry_run: bool, study: Study
) -> None:
    change(study)
    before, said = _left(study.record), list[str]()
    with pytest.raises(LabError) as refused:
        prune(Study.open(study.record.folder), said.append, dry_run)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert _left(study.record) == before
    assert said == []


def test_a_study_at_work_is_not_pruned(study: Study) -> None:
    before = _left(study.record)
    with study.record.driver_lock(), pytest.raises(RecordError, match="in use by lab study"):
        prune(study, str)
    assert _left(study.record) == before


def test_one_that_was_killed_is_pruned_by_another(study: Study, tmp_path: Path) -> None:
    (tmp_path / "states").mkdir()
    states = States(study.record.folder, tmp_path / "states")
    count = sum(len(spare.files) for spare in spare_in(study.record))
    states.left_by(lambda: prune(study, str))
    whole = _left(study.record)
    assert len(states.folders) >= count > 10
    for folder in states.folders:
        prune(Study.open(folder), str)
        assert _left(Record(folder)) == whole


def test_a_file_that_cannot_be_deleted_ends_with_a_line(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuses)
    with pytest.raises(RecordError, match=r"safetensors: cannot be deleted \(Permission denied\); mend that"):
        prune(study, str)


def _extended_before(record: Record) -> Path:
    """A folder as an extension leaves it."""
    aside = record.folder / "before-12-trials"
    for own in record.weight_folders:
        if own.is_dir():
            shutil.copytree(own, aside / own.name)
    shutil.copy(record.folder / Record.REPORT, aside / Record.REPORT)
    shutil.copy(record.artefact_path("confirm"), aside / "confirm.json")
    return aside


def test_the_weights_of_what_was_concluded_before_an_extension_go_and_the_rest_stays(study: Study) -> None:
    aside, said = _extended_before(study.record), list[str]()
    assert list(aside.rglob("*.safetensors"))
    prune(study, said.append)
    assert any(line.startswith("before-12-trials/final ") for line in said)
    assert not list(aside.rglob("*.safetensors"))
    assert (aside / Record.REPORT).is_file()
    assert (aside / "confirm.json").is_file()
    study.extend(1)
    assert (study.record.folder / "before-12-trials-2" / "confirm.json").is_file()


@pytest.mark.parametrize("what", ["before-12-trials", "before-12-trials/final"])
def test_what_was_put_aside_is_not_deleted_through_a_link(what: str, study: Study, tmp_path: Path) -> None:
    aside = _extended_before(study.record)
    path = study.record.folder / what
    elsewhere = tmp_path / "elsewhere"
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)
    kept = sorted(elsewhere.rglob("*"))
    with pytest.raises(RecordError, match="is a link, and nothing is deleted through one"):
        prune(study, lambda line: None)
    assert sorted(elsewhere.rglob("*")) == kept
    assert aside.exists()
