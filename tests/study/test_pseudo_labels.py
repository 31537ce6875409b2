"""A second round on pseudo-labels: beside the first on the same rows, and handed out if validation says so."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lab.cli.main import main
from lab.errors import Interrupted, SpecError, StudyError
from lab.report.page import render
from lab.stages.second_round import SecondRound, second_round_of, second_round_path
from lab.study import pseudo_labels as module
from lab.study.extend import extend
from lab.study.prune import spare_in
from lab.study.pseudo_labels import pseudo_label
from lab.study.second_training import HARD, LABELS, SOFT, SecondTraining, confidences, copies, hard, ways_of
from lab.study.study import Study
from lab.tasks.table.task import Table
from lab.tasks.task import Data, Split, Task
from tests.cli.refusal import refuse
from tests.own_data import table, write_folders, write_table, write_texts
from tests.own_studies import own_study
from tests.unmarked import unmarked


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows without a target."""
    return write_table(tmp_path_factory.mktemp("others") / "others.csv", table(90, seed=1).drop(columns="answer"))


@pytest.fixture(scope="module")
def study(table_study: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study.open(shutil.copytree(table_study.record.folder, tmp_path_factory.mktemp("second") / "run"))


@pytest.fixture(scope="module")
def second_round(study: Study, others: Path) -> SecondRound:
    """By the command, as a user has it; kept, whatever the validation rows say."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_surely_better", lambda *args: (True, "as the test wants it"))
        command = ["lab", "study", "pseudo-label", str(study.record.folder), "--unlabelled", str(others)]
        patch.setattr("sys.argv", [*command, "--confidence", "0.55", "--epochs", "2"])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    second = second_round_of(study.record)
    assert second is not None
    return second


def test_the_second_round_is_reported_beside_the_first_and_the_labels_alone(
    study: Study, second_round: SecondRound
) -> None:
    assert [way.name for way in second_round.ways] == [HARD, SOFT, LABELS]
    assert second_round.chosen == min(second_round.ways[:2], key=lambda way: way.valid_loss).name
    assert {way.name for way in second_round.ways if way.test} == {second_round.chosen, LABELS}
    assert second_round.first.test is not None
    assert second_round.first.test["accuracy"] == study.result.artefact("refit")["test"]["accuracy"]
    assert 0 < second_round.pseudo_labelled < second_round.unlabelled == 90
    steps = [way.epochs * way.examples for way in second_round.ways]
    assert steps[2] == pytest.approx(steps[0], rel=0.3), "as many steps"
    assert not [*study.record.folder.glob("pseudo-*")], "nothing is left behind"


def test_a_kept_one_is_what_the_study_hands_out(study: Study, second_round: SecondRound, tmp_path: Path) -> None:
    assert second_round.kept
    again = Study.open(study.record.folder)
    ensemble = again.result.ensemble
    x, y = ensemble.test_data()
    assert ensemble.scores(ensemble.predict(x), y)["accuracy"] == pytest.approx(second_round.test["accuracy"])
    assert {member.file for member in second_round.members} == {p.name for p in again.record.second_folder.iterdir()}
    handed = again.result.summary.handed
    assert handed is not None
    assert handed.score == second_round.test["accuracy"]
    page = unmarked(render(again.spec, again.record))
    assert "A second round on pseudo-labels" in page
    assert f"second round: {second_round.chosen}, handed out" in page
    assert "examples, handed out" not in page
    assert all(spare.files[0].parent != again.record.second_folder for spare in spare_in(again.record))


def test_a_further_one_has_the_first_round_for_a_teacher_and_takes_the_place(
    study: Study, second_round: SecondRound, others: Path, tmp_path: Path
) -> None:
    copy = Study.open(shutil.copytree(study.record.folder, tmp_path / "run"))
    further = pseudo_label(copy, others, epochs=1, confidence=0.5, share=0.2)
    assert further.first == second_round.first
    assert second_round_of(copy.record) == further
    assert further.kept == copy.record.second_folder.exists()
    if not further.kept:
        handed = copy.result.summary.handed
        assert handed is not None
        assert handed.score == copy.result.artefact("refit")["test"]["accuracy"]
        assert "Not handed out" in render(copy.spec, copy.record)


def test_extending_puts_it_aside(study: Study, second_round: SecondRound, tmp_path: Path) -> None:
    copy = Study.open(shutil.copytree(study.record.folder, tmp_path / "run"))
    aside = extend(copy.record, copy.spec.changed(search={"trials": copy.spec.search.trials + 1}))
    assert second_round_of(copy.record) is None
    assert not copy.record.second_folder.exists()
    assert (aside / second_round_path(copy.record).name).exists()


def test_an_interrupted_one_goes_on(
    study: Study, others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Study.open(shutil.copytree(study.record.folder, tmp_path / "run"))

    def stop(*args: object) -> None:
        raise Interrupted("stopped")

    monkeypatch.setattr(SecondTraining, "again", stop)
    with pytest.raises(Interrupted):
        pseudo_label(copy, others, epochs=1, confidence=0.6)
    monkeypatch.undo()
    (work,) = copy.record.folder.glob("pseudo-*")
    times = {path: path.stat().st_mtime_ns for path in work.rglob("*.safetensors")}
    assert len(times) == 6, "two seeds of three ways"
    seen: list[int] = []
    put = module._put
    monkeypatch.setattr(module, "_put", lambda *args: seen.extend(p.stat().st_mtime_ns for p in times) or put(*args))
    pseudo_label(copy, others, epochs=1, confidence=0.6)
    assert seen == [*times.values()], "never written again"


def test_a_full_disk_at_the_end_loses_no_training(
    study: Study, others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Study.open(shutil.copytree(study.record.folder, tmp_path / "run"))
    monkeypatch.setattr(module, "_surely_better", lambda *args: (True, "as the test wants it"))

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_second_round", full)
        with pytest.raises(OSError, match="No space left"):
            pseudo_label(copy, others, epochs=1, confidence=0.6)
    assert second_round_of(copy.record) is None, "the first round is handed out"
    pseudo_label(copy, others, epochs=1, confidence=0.6)
    second = second_round_of(copy.record)
    assert second is not None
    assert {path.name for path in copy.record.second_folder.iterdir()} >= {member.file for member in second.members}


def test_what_cannot_be_is_one_line_and_trains_nothing(
    study: Study, others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lab.stages.job.run_job", None)
    other = write_table(tmp_path / "other.csv", table(8).rename(columns=lambda name: f"my {name}"))
    (tmp_path / "empty.csv").write_text("number,letter,day\n")
    (tmp_path / "broken.parquet").write_bytes(b"no parquet")
    folder = study.record.folder
    cases: dict[str, tuple[Any, ...]] = {
        "0.9999999 is above that of each of the 90 examples; the surest is said with": (
            *(folder, others),
            *("--confidence", "0.9999999"),
        ),
        "--confidence: 1.5 is not a probability below 1": (folder, others, "--confidence", "1.5"),
        "--share: 1.0 is not from 0.05 to 0.95": (folder, others, "--share", "1"),
        "--share: 1e-09 is not from 0.05 to 0.95": (folder, others, "--share", "1e-9"),
        "--share: nan is not from 0.05 to 0.95": (folder, others, "--share", "nan"),
        "has none of the 3 columns that were learned from": (folder, other),
        "empty.csv": (folder, tmp_path / "empty.csv"),
        "broken.parquet": (folder, tmp_path / "broken.parquet"),
        "nowhere.csv does not exist": (folder, tmp_path / "nowhere.csv"),
        "holds no study": (tmp_path, others),
    }
    for message, (where, file, *more) in cases.items():
        refused = refuse(capsys, monkeypatch, "study", "pseudo-label", where, "--unlabelled", file, *more)
        assert message in refused
    unfinished = shutil.copytree(folder, tmp_path / "run")
    (unfinished / "ensemble.json").unlink()
    refused = refuse(capsys, monkeypatch, "study", "pseudo-label", unfinished, "--unlabelled", others)
    assert "stage 'ensemble' has to run first" in refused


def test_values_have_no_confidence_and_folds_leave_nothing_to_judge_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = table(80).drop(columns="answer")
    path = write_table(tmp_path / "values.csv", frame)
    study = own_study(tmp_path / "run", {"kind": "table", "path": str(path), "target": "number", "layers": [4]})
    rows = write_table(tmp_path / "rows.csv", frame.head(30).drop(columns="number"))
    with pytest.raises(SpecError, match="--confidence: is for classes and labels"):
        pseudo_label(study, rows, confidence=0.8)
    learned = pseudo_label(study, rows, epochs=1)
    assert [way.name for way in learned.ways] == [HARD, LABELS]
    assert learned.pseudo_labelled == 30
    assert learned.confidence is None
    monkeypatch.setattr(module, "learned_by_folds", lambda spec, task: True)
    with pytest.raises(StudyError, match="a study with folds has learned from all validation rows"):
        pseudo_label(study, rows)


def test_labels_learned_longer_are_said_to_be_best_where_they_are(second_round: SecondRound) -> None:
    *others, alone = second_round.ways
    best = replace(alone, valid_loss=-1.0, epochs=39)
    assert replace(second_round, ways=(*others, best)).longer.endswith(
        "are the best on validation: try final.epochs of 39"
    )
    assert replace(second_round, ways=(*others, replace(alone, valid_loss=99.0))).longer == ""


def test_shares_of_a_batch_and_what_is_sure() -> None:
    assert copies(100, 900, 0.5) == (9, 1)
    assert copies(900, 100, 0.1) == (1, 1)
    assert copies(100, 100, 0.8) == (1, 4)
    p = torch.tensor([[0.2, 0.8], [0.55, 0.45]])
    torch.testing.assert_close(confidences(p, "classification"), torch.tensor([0.8, 0.55]))
    torch.testing.assert_close(confidences(p, "multilabel"), torch.tensor([0.8, 0.55]))
    assert hard(p, "classification", ()).tolist() == [1, 0]
    assert hard(p, "multilabel", (0.1, 0.9)).tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize(("gain", "kept"), [(0.0, False), (0.1, True)])
def test_the_validation_rows_decide(gain: float, kept: bool) -> None:
    """By a gain that exceeds its error twice, and where the labels alone come to less."""
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 0.3, 200))

    class Of:
        def __init__(self, losses: torch.Tensor) -> None:
            self.losses, self.loss = losses, float(losses.mean())

    first = Of(torch.ones(200).double() + noise - noise.mean())
    better, alone = Of(torch.full((200,), 1.0 - gain).double()), Of(torch.full((200,), 0.95).double())
    assert module._surely_better(first, [better], better, alone)[0] is kept
    if kept:
        assert not module._surely_better(first, [better], better, better)[0], "as many steps did as much"


class _Own(Task):
    """Whose augmentation may take classes alone."""

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        raise AssertionError

    def data(self, split: Split) -> Data:
        raise AssertionError

    def augment(self, x: torch.Tensor, y: torch.Tensor, draws: torch.Tensor) -> Data:
        raise AssertionError


class _Soft(_Own):
    soft_targets = True


def test_probabilities_are_learned_by_tasks_that_take_them() -> None:
    assert ways_of(_Own()) == (HARD,)
    assert ways_of(_Soft()) == (HARD, SOFT)
    assert Table.soft_targets


@pytest.mark.parametrize("kind", ["images", "text"])
def test_images_and_texts_learn_from_others(kind: str, tmp_path: Path) -> None:
    if kind == "images":
        task: dict[str, Any] = {"kind": "images", "path": str(write_folders(tmp_path / "some", each=20))}
        task |= {"mixup": 0.2, "balance": 1.0}
        others = tmp_path / "others"
        for folder in write_folders(tmp_path / "more", each=10, seed=1).iterdir():
            shutil.copytree(folder, others, dirs_exist_ok=True)
    else:
        task = {"kind": "text", "path": str(write_texts(tmp_path / "texts.csv")), "target": "label"}
        others = tmp_path / "others.txt"
        others.write_text("a good film\na bad one\n" * 5)
    study = own_study(tmp_path / "run", task)
    learned = pseudo_label(study, others, epochs=1, confidence=0.0)
    assert [way.name for way in learned.ways] == [HARD, SOFT, LABELS]
    assert learned.pseudo_labelled == learned.unlabelled == 10
    heat = [one.heat_map for some in learned.examples.values() for one in some]
    assert any(one.startswith("data:image/") for one in heat) is (kind == "images")
