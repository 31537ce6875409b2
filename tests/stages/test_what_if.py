"""What the forest expects of a setting: between the scores it has seen, with the nearest trials; or one clear line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lab.cli.main import main
from lab.errors import SpecError, StudyError
from lab.stages import explanation, what_if
from lab.stages.what_if import expected
from lab.study.study import Study


def test_what_was_trained_is_its_own_nearest_and_the_rest_is_the_confirmed_setups(small_study: Study):
    trials = small_study.result.trials.query("stage == 'explore' and score == score")
    some = trials.iloc[3]
    lr = float(some["params_max_lr"])
    answer = small_study.result.response.predict({"max_lr": lr})
    assert answer.params == {**small_study.result.best_params, "max_lr": lr}
    assert answer.low <= answer.mean <= answer.high
    scores = trials["score"] if answer.what == "accuracy" else np.log(trials["valid_loss"])
    assert scores.min() - 1e-9 <= answer.mean <= scores.max() + 1e-9
    whole = {name: some[f"params_{name}"] for name in answer.params}
    near = small_study.result.response.predict(
        {k: v.item() if hasattr(v, "item") else v for k, v in whole.items()}
    ).near
    assert near[0].number == some["trial"]
    assert near[0].score == pytest.approx(some["score"])
    assert len(near) == 3


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"lr": 0.1}, r"^--set lr: was not searched.*; there are: max_lr"),
        ({"max_lr": 1e9}, r"^--set max_lr: 1000000000.0 lies outside of what was searched: \S+ to \S+$"),
        ({"max_lr": "fast"}, r"^--set max_lr: 'fast' lies outside of what was searched: \S+ to \S+$"),
        ({"cycles": 77}, r"^--set cycles: 77 lies outside of what was searched: 1, 2"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_line(changes: dict[str, Any], line: str, small_study: Study):
    with pytest.raises(SpecError, match=line):
        expected(small_study.spec, small_study.record, changes)


def test_before_anything_is_confirmed_the_best_trial_is_what_is_changed(small_study: Study, tmp_path: Path):
    folder = Path(shutil.copytree(small_study.record.folder, tmp_path / "run"))
    (folder / "confirm.json").unlink()
    study = Study.open(folder)
    trials = study.result.trials.query("stage == 'explore' and score == score")
    assert expected(study.spec, study.record, {}).near[0].score == pytest.approx(trials["score"].max())


def test_too_few_trials_answer_nothing(small_study: Study, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(what_if, "fitted", lambda *_: explanation.Withheld("fewer than 4 trials", 3))
    with pytest.raises(StudyError, match=r"^the forest cannot be asked: fewer than 4 trials$"):
        expected(small_study.spec, small_study.record, {})


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_the_command_says_what_is_expected(
    flags: list[str], small_study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    command = ["lab", "study", "ask", str(small_study.record.folder), "--set", "dropout=0.2", *flags]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    said = capsys.readouterr().out
    if flags:
        assert json.loads(said)["params"]["dropout"] == 0.2
    else:
        lines = said.splitlines()
        assert lines[0].startswith("setting   ")
        assert "dropout 0.2" in lines[0]
        assert lines[1].startswith("expected  ")
        assert sum(line.startswith("near      trial ") for line in lines) == 3
