"""`lab embeddings`: one row for each input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lab.cli.main import main
from lab.study.study import Study
from tests.cli.refusal import refuse


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_each_input_has_its_features(
    suffix: str, small_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.random.default_rng(0).uniform(0, 16, (3, 8, 8))
    np.savez(tmp_path / "digits.npz", x=pixels)
    path = tmp_path / f"made{suffix}"
    arguments = ["--input", str(tmp_path / "digits.npz"), "--output", str(path)]
    monkeypatch.setattr("sys.argv", ["lab", "embeddings", str(small_study.record.folder), *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert "128 numbers of each of 3 inputs" in capsys.readouterr().out
    made = pd.read_parquet(path) if suffix == ".parquet" else pd.read_csv(path)
    ensemble = small_study.result.ensemble
    names, numbers = ensemble.embed(ensemble.prepare(pixels))
    assert list(made.columns) == list(names)
    np.testing.assert_allclose(made.to_numpy(), numbers.numpy(), rtol=1e-5, atol=1e-7)


def test_another_ending_is_refused(
    small_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--input", tmp_path / "digits.npz", "--output", tmp_path / "made.xlsx"]
    said = refuse(capsys, monkeypatch, "embeddings", small_study.record.folder, *arguments)
    assert said == "--output: made.xlsx: is neither .parquet nor .csv"
