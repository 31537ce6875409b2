"""A student of a study: a model folder that runs alone, chosen by the validation rows, beside the labels alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from lab.cli.main import main
from lab.errors import Interrupted, SpecError
from lab.study import distill as module
from lab.study.distill import distill
from lab.study.distillation import LABELS, TAUGHT, Distillation, ms_per_row
from lab.study.model_folder import CARD, CONFIG, PROGRAM
from lab.study.study import Study
from tests.cli.refusal import refuse


@pytest.fixture(scope="module")
def study(table_study: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study.open(shutil.copytree(table_study.record.folder, tmp_path_factory.mktemp("taught") / "run"))


@pytest.fixture(scope="module")
def distilled(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Distillation:
    """By the command, as a user has it."""
    kept = []
    train = module.distill
    folder = tmp_path_factory.mktemp("student") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "distill", lambda *args, **more: kept.append(train(*args, **more)) or kept[0])
        arguments = [study.record.folder, "--output", folder, "--model", "4", "--made-up", "2", "--epochs", "2"]
        patch.setattr("sys.argv", ["lab", "distill", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    return kept[0]


def test_what_is_written_predicts_and_says_what_it_is_worth(study: Study, distilled: Distillation) -> None:
    model = torch.export.load(distilled.folder / PROGRAM).module()
    x, y = study.result.ensemble.test_data()
    scores = study.result.ensemble.scores(model(x).detach(), y)
    assert scores["accuracy"] == distilled.student.test["accuracy"]
    assert scores["nll"] == pytest.approx(distilled.student.test["nll"], rel=1e-5)
    config = json.loads((distilled.folder / CONFIG).read_text())
    assert (config["nets"], config["distill"]["rows"]) == (1, distilled.rows)
    assert config["distill"]["student"]["test"]["accuracy"] == distilled.student.test["accuracy"]
    said = (distilled.folder / CARD).read_text()
    assert f"- One net, {distilled.chosen.name}" in said
    assert "the same net, " in said.lower()
    assert not [*study.record.folder.glob("distill-*")], "nothing is left behind"


def test_the_ensemble_beside_it_is_what_the_study_hands_out(study: Study, distilled: Distillation) -> None:
    handed = study.result.summary.handed
    assert handed is not None
    assert distilled.ensemble.test["accuracy"] == handed.score
    assert distilled.student.bytes < distilled.ensemble.bytes
    assert set(distilled.student.ms_per_row) == {1, 256}
    ensemble = study.result.ensemble
    x = ensemble.test_data()[0]
    torch.testing.assert_close(ensemble.loaded(x)(x).double(), ensemble.predict(x).double(), rtol=1e-5, atol=1e-6)


def test_validation_chooses_among_teachers_temperatures_and_labels(study: Study, distilled: Distillation) -> None:
    ways = [(one.name, one.temperature, one.epochs) for one in distilled.tried]
    assert ways == [(TAUGHT, 1.0, 2), (TAUGHT, 2.0, 2), (TAUGHT, 4.0, 2), (LABELS, None, 6), (LABELS, None, 2)]
    assert distilled.chosen == min(distilled.tried, key=lambda one: one.valid_loss)
    assert distilled.chosen.test == distilled.student.test
    tested = [one for one in distilled.tried if one.test is not None]
    assert [one.name for one in tested] == [TAUGHT, LABELS], "the best of each, once"
    for one in tested:
        assert one.valid_loss == min(other.valid_loss for other in distilled.tried if other.name == one.name)
    rows = study.result.ensemble.task
    assert distilled.rows == 3 * (len(rows.data("train")[0]) + len(rows.data("valid")[0]))


def test_an_interrupted_one_goes_on(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args: object) -> None:
        raise Interrupted("stopped")

    monkeypatch.setattr(module._Trainer, "again", stop)
    with pytest.raises(Interrupted):
        distill(study, tmp_path / "model", made_up=0, epochs=1, temperatures=(1.0,))
    monkeypatch.undo()
    (work,) = study.record.folder.glob("distill-*")
    weights = {path: path.stat().st_mtime_ns for path in work.rglob("*.safetensors")}
    assert len(weights) == 4, "two seeds, with a teacher and without"
    times: list[int] = []
    worth = module._worth
    monkeypatch.setattr(
        module, "_worth", lambda *args: times.extend(p.stat().st_mtime_ns for p in weights) or worth(*args)
    )
    distill(study, tmp_path / "model", made_up=0, epochs=1, temperatures=(1.0,))
    assert times == [*weights.values()] * 2, "looked at twice, and never written again"
    assert not work.exists()


def test_what_cannot_be_is_refused_before_anything_is_trained(
    study: Study,
    small_study: Study,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("lab.stages.job.run_job", None)
    refused = refuse(capsys, monkeypatch, "distill", study.record.folder, "--output", tmp_path, "--model", "wide")
    assert refused == "--model: 'wide' is not widths of hidden layers, such as 64,32"
    with pytest.raises(SpecError, match=r"^--model: 'cnn' takes inputs \[1, 8, 8\], the study's nets \[64\]$"):
        distill(small_study, tmp_path / "model", model="cnn")
    (tmp_path / "file").touch()
    with pytest.raises(SpecError, match="is not empty"):
        distill(study, tmp_path)
    with pytest.raises(SpecError, match="--made-up"):
        distill(study, tmp_path / "model", made_up=-1)
    assert not (tmp_path / "model").exists()


def test_a_row_takes_less_among_many() -> None:
    taken: list[int] = []

    def predict(x: torch.Tensor) -> torch.Tensor:
        taken.append(len(x))
        return x

    assert ms_per_row(predict, torch.zeros(3, 2), 256) > 0
    assert set(taken) == {256}
    assert len(taken) >= 8
