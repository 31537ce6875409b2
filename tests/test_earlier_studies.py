"""Studies that an earlier version began are still read, gone on with and predicted with.

Version 0.1.0 wrote the folders in `tests/golden/studies` (its commit is in their `study.yaml`): one is finished, one
stopped after `explore`, one was killed while it searched. Left out is what is written anew anyway (the report,
`trials.parquet`, locks), and their table's path was made relative. The weights in the killed one's checkpoint were
changed, so that its scores tell whether training went on from there. Nobody has begun them here, so that going on with
them takes trust; looking at them and predicting takes none. `finished.csv` is what that version exported,
`predictions.csv` what it predicted for `new.csv`, `killed.csv` how the killed search ended.
"""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import lab
from tests.small import lab as command

STUDIES = Path(__file__).parent / "golden" / "studies"
JOURNAL = "ledger.journal"


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    return Path(shutil.copytree(STUDIES, tmp_path / "studies"))


def run(*arguments: str | Path) -> str:
    """What a command that succeeds prints."""
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def trials(folder: Path, stage: str = "explore") -> pd.DataFrame:
    table = lab.Study.open(folder).result.trials
    return table[table["stage"] == stage].reset_index(drop=True)


def states(folder: Path) -> dict[str, str]:
    status = json.loads(run("study", "status", folder, "--json"))
    return {stage: entry["state"] for stage, entry in status["stages"].items()}


def test_where_they_are_is_read(studies: Path):
    assert set(states(studies / "finished").values()) == {"complete"}
    begun = states(studies / "explored")
    assert [stage for stage, state in begun.items() if state == "complete"] == ["bounds", "explore"]
    assert states(studies / "killed")["explore"] == "begun"
    listed = run("study", "list", studies).splitlines()
    assert [line.split("  ")[1] for line in listed] == ["2 of 7 stages", "complete", "1 of 7 stages"]


@pytest.mark.parametrize("name", ["finished", "explored"])
def test_a_report_is_written(studies: Path, name: str):
    run("study", "report", studies / name)
    assert f"<title>{name}" in (studies / name / "report.html").read_text()


def test_every_trial_is_exported_as_it_was(studies: Path):
    run("study", "export", studies / "finished", "--output", studies / "now.csv")
    recorded = pd.read_csv(STUDIES / "finished.csv")
    assert_frame_equal(pd.read_csv(studies / "now.csv")[list(recorded.columns)], recorded, check_exact=True)


@pytest.mark.parametrize("pruned", [False, True])
def test_predictions_are_those_of_then(studies: Path, pruned: bool):
    if pruned:
        weights = set(studies.glob("finished/final/*"))
        run("study", "prune", studies / "finished", "--trust")
        assert set(studies.glob("finished/final/*")) < weights
    now = run("predict", studies / "finished", "--input", studies / "new.csv")
    assert_frame_equal(
        pd.read_csv(io.StringIO(now)), pd.read_csv(STUDIES / "predictions.csv"), check_exact=False, rtol=0, atol=1e-4
    )


def test_a_finished_one_is_not_run_again(studies: Path):
    before = {path: path.read_bytes() for path in (studies / "finished").rglob("*.*") if path.name != "study.yaml"}
    lab.Study.open(studies / "finished", trust=True).run()
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.slow
def test_one_that_stopped_after_its_search_is_finished(studies: Path):
    folder = studies / "explored"
    journal, searched = (folder / JOURNAL).read_bytes(), trials(folder)
    lab.Study.open(folder, trust=True).run()
    assert set(states(folder).values()) == {"complete"}
    assert (folder / JOURNAL).read_bytes().startswith(journal)
    assert_frame_equal(trials(folder)[list(searched.columns)], searched, check_exact=True)
    assert list(searched["outcome"]).count("pruned") == 1
    assert len(trials(folder, "final")) == 2 + (3 + 4)  # a run of each kind, and controls for four runs


def test_a_search_that_was_killed_goes_on_from_its_checkpoint(studies: Path):
    folder = studies / "killed"
    journal = (folder / JOURNAL).read_bytes()
    lab.Study.open(folder, trust=True).run(until="explore")
    assert (folder / JOURNAL).read_bytes().startswith(journal)
    recorded = pd.read_csv(STUDIES / "killed.csv").drop(columns=["seconds", "detail"])
    now = trials(folder)[list(recorded.columns)]
    assert_frame_equal(now, recorded, check_exact=False, check_dtype=False, rtol=1e-3)


@pytest.mark.slow
def test_a_finished_one_is_extended(studies: Path):
    folder = studies / "finished"
    journal, searched = (folder / JOURNAL).read_bytes(), trials(folder)
    run("study", "extend", folder, "--trials", "+2", "--trust")
    assert set(states(folder).values()) == {"complete"}
    assert (folder / JOURNAL).read_bytes().startswith(journal)
    now = trials(folder)
    assert len(now) == len(searched) + 2
    assert_frame_equal(now[list(searched.columns)].head(len(searched)), searched, check_exact=True)
    assert (folder / "before-9-trials" / "ensemble.json").read_bytes() == (
        STUDIES / "finished" / "ensemble.json"
    ).read_bytes()
