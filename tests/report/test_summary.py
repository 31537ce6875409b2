"""One summary of a study, and the windows that show it."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lab.cli.main import main
from lab.errors import RecordError
from lab.record.artefact import to_json
from lab.record.folder import read_json
from lab.report.artefacts import Artefacts
from lab.report.number import number
from lab.report.page import render
from lab.report.summary import (
    Setting,
    Setup,
    _handed,
    _said,
    comparison,
    data_name,
    summarize,
    summary_html,
    summary_lines,
)
from lab.spec.study import parse_spec
from lab.study.study import Study
from tests.small import small_spec
from tests.unmarked import unmarked


def test_it_holds_what_the_stages_have_left(small_study: Study):
    summary = small_study.result.summary
    confirmed, refitted = (read_json(small_study.record.folder / name) for name in ("confirm.json", "refit.json"))
    best = confirmed["chosen"]["one_cycle"]
    assert summary.setup is not None
    assert {setting.name: setting.value for setting in summary.setup.settings} == best["params"]
    assert summary.setup.seeds == len(best["scores"])
    worth = best["unbiased"] or best["summary"]
    assert (summary.setup.score, summary.setup.low, summary.setup.high) == (worth["mean"], worth["low"], worth["high"])
    assert summary.handed is not None
    assert summary.handed.score == refitted["test"][refitted["metric"]]
    assert summary.handed.models == len(refitted["members"])
    assert summary.missing == ()
    assert small_study.result.best_params == best["params"]
    assert summary.cost.trainings == len(small_study.result.trials)


def test_it_says_what_there_is_and_how_to_go_on(small_study: Study, tmp_path: Path):
    folder = Path(shutil.copytree(small_study.record.folder, tmp_path / "run"))
    for name in ("confirm.json", "final.json", "ensemble.json", "refit.json"):
        (folder / name).unlink()
    result = Study.open(folder).result
    assert result.summary.missing == ("confirm", "final", "ensemble", "refit")
    assert result.summary.setup is result.summary.handed is None
    assert result.summary.commands == (f"lab study resume {folder}",)
    with pytest.raises(RecordError, match="confirm"):
        _ = result.best


def test_a_study_that_has_not_begun_is_summed_up_too(tmp_path: Path):
    spec = small_spec()
    study = Study.from_spec(spec, tmp_path / "none")
    summary = summarize(spec, study.record)
    assert (summary.setup, summary.handed, summary.verdict) == (None, None, None)
    assert summary.cost.trainings == 0
    assert summary_lines(summary)[-1] == f"next      lab study resume {tmp_path / 'none'}"


def test_every_window_shows_the_same(small_study: Study, capsys: pytest.CaptureFixture[str], monkeypatch):
    folder = small_study.record.folder
    lines = summary_lines(small_study.result.summary)
    assert repr(small_study.result).splitlines() == lines
    for flags in ([], ["--json"]):
        monkeypatch.setattr("sys.argv", ["lab", "study", "show", str(folder), *flags])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        said = capsys.readouterr().out
        if flags:
            assert json.loads(said) == to_json(small_study.result.summary)
        else:
            assert said.splitlines() == lines
    html = small_study.result._repr_html_()
    assert html.count("<tr>") == len(lines)


def test_the_page_and_the_summary_name_the_same_better_ways(small_study: Study):
    artefacts = Artefacts.of(small_study.record)
    handed = _handed(artefacts)
    assert handed is not None
    page = unmarked(render(small_study.spec, small_study.record))
    assert page.count("is better on the") == len(handed.better)
    assert all(f"{way.name[:1].upper()}{way.name[1:]}: {number(way.score)}." in page for way in handed.others)
    assert artefacts.ensemble is not None
    worst = replace(artefacts.ensemble.chosen, test={artefacts.ensemble.metric: -1.0})
    beaten = replace(artefacts, ensemble=replace(artefacts.ensemble, chosen=worst, direction="maximize"), refit=None)
    worse = _handed(beaten)
    assert worse is not None
    assert len(worse.better) == 2


def test_the_page_begins_with_the_answer_of_the_summary(small_study: Study):
    summary, page = small_study.result.summary, unmarked(render(small_study.spec, small_study.record))
    assert summary.setup is not None
    answer = page[page.index('<div class="answer">') : page.index("<h2")]
    for setting in summary.setup.settings:
        assert f'<th scope="row">{setting.name}</th><td><b>{number(setting.value)}</b></td>' in answer
    assert f"Validation accuracy {number(summary.setup.score)}" in answer
    assert f"{summary.cost.trainings} trainings, {summary.cost.epochs} epochs; " in answer
    assert f"{summary.cost.line}." in answer


def test_what_a_name_holds_is_no_html(small_study: Study):
    summary = small_study.result.summary
    assert summary.setup is not None
    setup = replace(summary.setup, settings=(Setting("<b>&", "x", None),))
    html = summary_html(replace(summary, setup=setup, name="<script>"))
    assert "<script>" not in html
    assert "<b>&" not in html


def test_data_are_called_by_their_file():
    spec = parse_spec(
        {
            "name": "s",
            "task": {"kind": "table", "path": "/a/sales.csv", "target": "x"},
            "space": {"max_lr": {"low": 0.1, "high": 1.0}},
        }
    )
    assert data_name(spec) == "sales.csv"
    assert data_name(small_spec()) == small_spec().task.kind


def test_studies_stand_side_by_side(small_study: Study):
    summary = small_study.result.summary
    assert summary.setup is not None
    other = replace(summary, setup=replace(summary.setup, settings=(Setting("beta2", 0.9, None),)), handed=None)
    table = comparison({"one": summary, "other": other})
    assert list(table.columns) == ["one", "other"]
    names = [setting.name for setting in summary.setup.settings]
    scores = [f"validation {summary.metric}", f"test {summary.test_metric}"]
    assert list(table.index) == ["data", *names, "beta2", *scores, "trainings", "epochs", "training_s"]
    assert table.loc["beta2"].tolist() == ["-", "0.9"]
    assert table.loc[scores[1], "other"] == "-"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("max_lr", 0.02, "as good: 0.01 to 0.04"),
        ("max_lr", 0.2, "the forest expects the best at 0.01 to 0.04"),
        ("dropout", 0.4, "hardly matters"),
        ("gamma", 1, None),
    ],
)
def test_what_is_said_of_a_setting_does_not_contradict_it(name: str, value: float, said: str | None):
    """A confirmed value may lie where the forest has not looked for the best, and noise has no good values."""
    steps = [0.001 * 10 ** (i / 10) for i in range(21)]
    curves = {"max_lr": [-abs(math.log10(x / 0.0178)) for x in steps], "dropout": [0.0] * 21}
    effects = [SimpleNamespace(name=n, values=steps, mean=mean) for n, mean in curves.items()]
    shares = {n: SimpleNamespace(share=share) for n, share in (("max_lr", 0.95), ("dropout", 0.05), ("gamma", 0.0))}
    explained: Any = SimpleNamespace(
        effects=effects, measures={"permutation": shares}, explains_direction="maximize", region=None
    )
    assert _said(explained, name, value) == said


def test_the_cycles_of_a_setup_are_no_choice_of_fresh_seeds():
    settings = (Setting("max_lr", 0.01, None), Setting("cycles", 1, None))
    setup = Setup(settings, score=0.9, low=None, high=None, seeds=4, in_search=None)
    assert setup.searched == {"max_lr": 0.01}
