"""What a study's folder says of its data and models, as frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lab.errors import RecordError
from lab.record.folder import read_json, write_json
from lab.spec.study import parse_spec
from lab.study.data import open_data
from lab.study.study import Study
from tests.own_studies import own_spec
from tests.tasks.table.test_drift import table_of


def test_drift_is_kept_when_a_study_begins_and_given_as_a_frame(tmp_path: Path):
    path, test = tmp_path / "table.parquet", tmp_path / "test.parquet"
    table_of().to_parquet(path)
    table_of(x=np.random.default_rng(0).normal(3.0, size=600)).to_parquet(test)
    task = {"kind": "table", "path": str(path), "target": "y", "test_path": str(test), "layers": [4]}
    study = Study.from_spec(parse_spec(own_spec(task)), tmp_path / "run")
    _, doubts = open_data(study.spec, study.record)
    assert any("training and test rows differ by 'x'" in doubt for doubt in doubts)
    frame = study.result.drift
    assert frame["split"].tolist() == ["valid", "test"]
    assert (frame["auc"] > 0.9).tolist() == [False, True]
    assert frame["by"].tolist() == [[], [["x"]]]
    write_json(study.record.task_path, read_json(study.record.task_path) | {"drift": [{"other": "valid"}]})
    with pytest.raises(RecordError, match=r"task.json: drift\.0\.rows: Field required"):
        _ = study.result.drift


def test_where_nothing_was_looked_at_that_is_said(small_study: Study, table_study: Study):
    for study in (small_study, table_study):
        with pytest.raises(RecordError, match="holds nothing of drift"):
            _ = study.result.drift
