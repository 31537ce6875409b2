"""The report: self-contained, complete, drawn without an error in a browser without a network."""

from __future__ import annotations

import base64
import gzip
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.errors import RecordError
from lab.range_test import Tried
from lab.record.folder import Record
from lab.report import page, plots
from lab.report.page import render, write_report
from lab.stages import bounds, confirm, explain
from lab.stages.explain import Explained
from lab.study.study import Study
from tests.small import ROOT, small_spec
from tests.unmarked import unmarked

PLOTS = (
    "range-test",
    "history",
    "importances",
    "effect-max_lr",
    "effect-cycles",
    "effect-weight_decay",
    "effect-dropout",
    "curves",
    "schedules",
    "controls",
    "final-curves",
    "confusion",
    "reliability",
    "cost",
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    spec = small_spec(search={"trials": 24, "epochs": 3})
    study = Study.from_spec(spec, tmp_path_factory.mktemp("report") / "run")
    study.run()
    return study


def test_every_section_and_plot_has_its_place(study: Study) -> None:
    html = render(study.spec, study.record)
    for heading in (
        "What was asked",
        "What was found",
        "Learning-rate range test",
        "Search",
        "Response",
        "Early stopping",
        "Schedules of the best",
        "Confirmation on fresh seeds",
        "Final models",
        "What is averaged",
        "What it gets wrong",
        "All trials",
        "What it cost",
        "Glossary",
        "Load it",
        "Provenance",
    ):
        assert f">{heading}<" in html
    for control in (
        "single 1cycle run",
        "last snapshot of a run",
        "all snapshots of a run",
        "single run without a search",
        "mean of 8 1cycle runs",
        "mean of 8 runs without a search",
        "the same on training and validation examples, handed out",
    ):
        assert control in html
    assert "undefined" not in re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL).lower()


def test_nothing_is_loaded_from_elsewhere(study: Study) -> None:
    html = render(study.spec, study.record)
    outside_scripts = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    assert not re.findall(r"""(?:src|href)=["']?https?:""", outside_scripts)
    assert "<script src" not in html


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Debian's chromium")
def test_a_browser_without_a_network_draws_every_plot_without_an_error(study: Study, tmp_path: Path) -> None:
    path = write_report(study.spec, study.record)
    done = subprocess.run(
        [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={tmp_path}",
            "--virtual-time-budget=10000",
            "--enable-logging=stderr",
            "--dump-dom",
            f"file://{path.resolve()}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in done.stderr, done.stderr
    ids = re.findall(r'class="plot[^"]*" id="([^"]+)"', done.stdout)
    drawn = re.findall(r'<div class="plot js-plotly-plot" id="([^"]+)"', done.stdout)
    assert drawn == ids
    explained = study.result.artefact("explain")["withheld"] is None
    assert set(drawn) >= (
        {*PLOTS} if explained else {"range-test", "history", "curves", "schedules", "controls", "confusion"}
    )


def _explained(record: Record) -> Explained:
    artefact = explain.STAGE.need(record)
    assert isinstance(artefact, Explained)
    return artefact


def test_withheld_importances_are_not_drawn_and_the_reason_stands_there(study: Study, tmp_path: Path) -> None:
    shutil.copytree(study.record.folder, tmp_path / "run")
    record = Record(tmp_path / "run")
    lost = replace(_explained(record), withheld="the forest is lost", importances=None, edges={})
    explain.STAGE.write(record, lost)
    html = render(study.spec, record)
    assert "Withheld: the forest is lost." in html
    assert 'id="importances"' not in html
    assert 'id="effect-max_lr"' not in html


def test_an_optimum_at_the_edge_says_which_way_to_widen(study: Study, tmp_path: Path) -> None:
    shutil.copytree(study.record.folder, tmp_path / "run")
    record = Record(tmp_path / "run")
    explain.STAGE.write(record, replace(_explained(record), edges={"weight_decay": "high"}))
    assert "Widen it: raise space.weight_decay.high." in render(study.spec, record)


@pytest.mark.parametrize(("ratio", "says"), [(1 / 50, "50 times as large"), (20, "20 times as small"), (2, None)])
def test_a_suggestion_that_the_trials_do_not_bear_out_is_called_so(
    study: Study, tmp_path: Path, ratio: float, says: str | None
) -> None:
    shutil.copytree(study.record.folder, tmp_path / "run")
    record = Record(tmp_path / "run")
    confirmed = float(confirm.STAGE.need(record).chosen.one_cycle.params["max_lr"])
    tested = bounds.STAGE.need(record)
    changes = {"suggestion": ratio * confirmed, "low": confirmed / 60, "high": 60 * confirmed}
    bounds.STAGE.write(record, replace(tested, **changes))
    html = render(study.spec, record)
    assert ("The trials found otherwise" in html) == (says is not None)
    assert says is None or says in html
    bounds.STAGE.write(record, replace(tested, **changes | {"low": 0.9 * confirmed, "high": 1.1 * confirmed}))
    narrow = "The trials found otherwise" in render(study.spec, record)
    assert not narrow, "no trial could have been where the range test pointed"


def test_short_trainings_around_the_suggestion_are_told_with_their_cost(study: Study, tmp_path: Path) -> None:
    assert "by 5 1cycle trainings of 3 epochs at 5 rates (15 epochs)" in render(study.spec, study.record)
    shutil.copytree(study.record.folder, tmp_path / "run")
    record = Record(tmp_path / "run")
    tried = (Tried(0.0025, (0.9, 0.91)), Tried(0.008, (0.95, None)))
    bounds.STAGE.write(record, replace(bounds.STAGE.need(record), suggestion=0.0025, by_curve=0.008, tried=tried))
    html = render(study.spec, record)
    assert "<b>0.0025</b> by 4 1cycle trainings of 3 epochs at 2 rates (12 epochs); its curves alone said 0.008" in html
    assert "Diamonds: 4 1cycle trainings" in unmarked(html)
    bounds.STAGE.write(record, replace(bounds.STAGE.need(record), tried=(), by_curve=None))
    assert "1cycle trainings of" not in render(study.spec, record)


def test_a_machine_without_plotly_still_gets_its_page(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "has_plotly", lambda: False)
    html = render(study.spec, study.record)
    assert "Plotly" not in html
    assert "plot needs plotly" in html
    assert "trialTable(JSON.parse(text))" in html, "the table of trials needs none"


def test_the_script_is_of_the_version_that_makes_the_figures() -> None:
    from plotly.offline import get_plotlyjs_version

    script = gzip.decompress(base64.b64decode(page.packed_plotly())).decode()
    assert f"plotly.js (cartesian - minified) v{get_plotlyjs_version()}" in script[:200]


def test_nothing_explored_is_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="stage 'explore' is not complete"):
        render(small_spec(), Record(tmp_path))


def test_user_text_is_escaped(study: Study) -> None:
    spec = study.spec.model_copy(update={"provenance": {"commit": "<script>alert(1)</script>"}})
    assert "<script>alert(1)" not in render(spec, study.record)


def test_the_page_stands_in_the_wheel() -> None:
    assert (ROOT / "lab/report/templates/page.html.j2").is_file()
    assert "report/templates/*.j2" in (ROOT / "pyproject.toml").read_text()


def test_the_front_of_each_cost_is_found_once(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    from lab.report import front

    asked, real = list[str](), front.front_of

    def counted(rows: Any, cost: str, direction: str) -> Any:
        asked.append(cost)
        return real(rows, cost, direction)

    monkeypatch.setattr(front, "front_of", counted)
    page = render(study.spec.changed(search={"objectives": ["score", "parameters"]}), study.record)
    assert asked == ["parameters"]
    assert "Score against parameters" in page


def test_a_plot_that_cannot_be_drawn_is_left_out_and_told(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise ValueError("nothing to draw")

    monkeypatch.setattr(plots, "history_figure", broken)
    html = render(study.spec, study.record)
    assert "plot history: left out (ValueError: nothing to draw)." in html
    assert 'id="history"' not in html
    assert 'id="curves"' in html
