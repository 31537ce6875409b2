"""`lab study suspects`: a table in the terminal and a file of the most doubtful rows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from lab.cli.main import main
from lab.record.folder import Record
from lab.study.study import Study
from tests.cli.refusal import refuse


def test_the_file_names_rows_as_the_task_does(
    table_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(table_study.record.folder, tmp_path / "run"))
    monkeypatch.setattr("sys.argv", ["lab", "study", "suspects", str(folder), "--folds", "2", "--seeds", "1"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().out
    assert not ended.value.code
    written = pd.read_csv(folder / "suspects.csv")
    assert len(written) == 100
    assert {"split", "index", "given", "predicted", "p_given", "loss", "suspect", "row of the file"} <= {*written}
    assert (written["given"] == written["answer"]).all()
    assert "suspects  " in said
    assert f"{folder / 'suspects.csv'}: the 100 most doubtful rows" in said
    assert str(written["row of the file"][0]) in said


def test_a_study_of_somebody_else_is_not_trained_on(
    table_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(table_study.record.folder, tmp_path / "theirs"))
    (folder / Record.TRUST).unlink()
    before = sorted(path.name for path in folder.iterdir())
    assert "--trust" in refuse(capsys, monkeypatch, "study", "suspects", folder)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_file_that_cannot_be_is_refused_before_anything_is_trained(
    table_study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = table_study.record.folder
    said = refuse(capsys, monkeypatch, "study", "suspects", folder, "--output", folder)
    assert said == f"--output: {folder}: is a folder; give a CSV file"
