"""The W&B Report of a study, as a server is given it, and what keeps one from being made."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from lab.cli.main import main
from lab.errors import SpecError
from lab.record.folder import Record
from lab.report.wandb_runs.identity import Identity
from lab.report.wandb_runs.workspace_report import check_workspaces
from lab.study.study import Study
from tests.small import lab
from tests.wandb_server import WandbServer


@pytest.fixture(autouse=True)
def _service_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that are started here do not share the one of W&B's that other tests have begun."""
    monkeypatch.delenv("WANDB_SERVICE", raising=False)


def _filters(grid: dict[str, Any]) -> dict[str, str]:
    (runs,) = grid["metadata"]["runSets"]
    return {f"{one['key']['section']}:{one['key']['name']}": one["value"] for one in runs["filters"]["filters"]}


def _panels(grid: dict[str, Any]) -> dict[str, dict[str, Any]]:
    panels = grid["metadata"]["panelBankSectionConfig"]["panels"]
    return {panel["config"].get("chartTitle") or panel["viewType"]: panel["config"] for panel in panels}


@pytest.mark.slow
def test_a_study_is_reported_by_its_runs_and_a_second_time_in_the_same_place(
    small_study: Study, tmp_path: Path
) -> None:
    pytest.importorskip("wandb_workspaces")
    server = WandbServer()
    folder = shutil.copytree(small_study.record.folder, tmp_path / "run")
    asked = "study", "report", folder, "--to=wandb-report", "--track-trials=none", "--trust"
    for _ in range(2):
        done = lab(*asked, **server.environment)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[-1].startswith(
            f"report    {server.environment['WANDB_BASE_URL']}/me/lab/reports/"
        )
    server.close()
    (report,) = server.reports.values()
    blocks = json.loads(report["spec"])["blocks"]
    group = Identity(small_study.spec, Record(folder)).group
    headings = [block["children"][0]["text"] for block in blocks if block["type"] == "heading"]
    believed = ["What matters"] if small_study.result.response.importances else []
    assert headings == ["Answer", "Search", *believed, "Range test", "Controls", "Trials"]
    (answer,) = [block["content"] for block in blocks if block["type"] == "markdown-block"]
    expected = repr(small_study.result).replace(str(small_study.record.folder), str(folder))
    assert [line.strip() for line in answer.splitlines()] == expected.splitlines()
    grids = [block for block in blocks if block["type"] == "panel-grid"]
    assert {_filters(grid)["run:group"] for grid in grids} == {group}
    assert {_filters(grid)["run:jobType"] for grid in grids} == {"study", "trial"}
    panels = {name: panel for grid in grids for name, panel in _panels(grid).items()}
    columns = [column["accessor"] for column in panels["the search"]["columns"]]
    assert columns == [*(f"config:{name}.value" for name in small_study.spec.space), "summary:score"]
    assert panels["Parameter Importance"]["targetKey"] == "score"


def test_a_report_is_refused_where_no_server_is_to_be_asked(
    small_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = shutil.copytree(small_study.record.folder, tmp_path / "run")
    monkeypatch.setattr("sys.argv", ["lab", "study", "report", str(folder), "--to", "wandb-report", "--trust"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = "lab: --to wandb-report: W&B's server holds reports, and WANDB_MODE says to ask none\n"
    assert capsys.readouterr().err == said
    assert not (folder / "wandb").exists()


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(
        SpecError, match=r"wandb-workspaces is not installed; pip install 'onecycle-lab\[wandb-report\]'"
    ):
        check_workspaces()
