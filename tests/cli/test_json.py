"""`--json`: every command that answers something says it to programs, as one JSON object and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from jsonschema import Draft202012Validator
from typer.main import get_command
from typer.testing import CliRunner

from lab.cli.answer_schema import answer_schema
from lab.cli.answers import ANSWERS
from lab.cli.main import app
from lab.record.folder import json_form
from lab.study.status import status_of
from lab.study.study import Study
from tests.cli.refusal import refuse
from tests.own_data import table, write_table
from tests.small import ROOT, lab, small, write_yaml

SAYS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "study check SPEC": lambda said: (
        said["spec"]["name"] == "small" and said["stages"]["explore"]["trainings"] == 12 and said["steps"] > 0
    ),
    "study check SPEC --probe": lambda said: said["seconds"] > 0 and said["facts"] != [],
    "study list RUNS": lambda said: [one["complete"] for one in said["studies"]] == [True],
    "study status DIR": lambda said: said["stages"]["explore"]["trials"] == {"completed": 4},
    "study show DIR": lambda said: said["setup"]["seeds"] == 2 and said["date"] is not None,
    "study ask DIR": lambda said: "mean" in said,
    "study compare DIR DIR": lambda said: [one["name"] for one in said["studies"].values()] == ["own"],
    "predict DIR --input TABLE": lambda said: (
        len(pd.DataFrame(**said["predictions"])) == said["examples"] == 12 and 0 <= said["scores"]["accuracy"] <= 1
    ),
    "predict DIR --input TABLE --output FILE.csv": lambda said: "predictions" not in said and said["examples"] == 12,
    "doctor": lambda said: said["fine"] is True and "torch" in said,
    "schedule list": lambda said: "one_cycle" in said["schedules"],
    "schedule one_cycle --set max_lr=0.1 --steps 20": lambda said: (
        said["schedule"]["kind"] == "one_cycle" and len(said["table"]["lr"]) == 20 and said["cycle_ends"] == [19]
    ),
    "task list": lambda said: said["tasks"]["table"]["options"]["target"]["required"] is True,
    "task check digits": lambda said: said["passed"] and len(said["findings"]) > 5,
    "lr-range SPEC --seeds 2": lambda said: said["search"][0] < said["max_lr"] < said["search"][1],
}


def validator_of(command: str) -> Draft202012Validator:
    """The schema of the longest command name that this one begins with."""
    schema = answer_schema(_name(command))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def _name(command: str) -> str:
    return max((name for name in ANSWERS if command.startswith(name)), key=len)


def test_every_command_with_json_has_a_schema_and_is_tried_here() -> None:
    commands = {" ".join(path) for path, command in _commands(get_command(app), ()) if "--json" in _options(command)}
    assert commands == ANSWERS.keys() - {"schedule list"}  # `list` is a kind there
    assert {_name(command) for command in SAYS} == set(ANSWERS)


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*path, name))


def _options(command: Any) -> list[str]:
    return [option for parameter in command.params for option in parameter.opts]


EARLIER = sorted(path.parent for path in (ROOT / "tests/golden/studies").glob("*/study.yaml"))


@pytest.mark.parametrize("folder", EARLIER, ids=lambda folder: folder.name)
def test_what_earlier_versions_wrote_is_answered_alike(folder: Path, tmp_path: Path) -> None:
    study = Study.open(shutil.copytree(folder, tmp_path / "study"))
    validator_of("study show").validate(json_form(asdict(study.result.summary)))
    validator_of("study status").validate(json_form(asdict(status_of(study))))


@pytest.mark.parametrize("broken", ["study status", "predict", "doctor"])
def test_a_schema_refuses_what_lacks_a_key(broken: str) -> None:
    validator = validator_of(broken)
    assert not validator.is_valid({})
    assert not validator.is_valid(dict.fromkeys(answer_schema(broken)["required"], object))


def test_the_command_prints_a_schema_or_refuses_in_one_line(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = CliRunner().invoke(app, ["study", "schema", "--of", "study show"])
    assert json.loads(done.output) == answer_schema("study show")
    assert "'study shw' is unknown (did you mean 'study show'?)" in refuse(
        capfd, monkeypatch, "study", "schema", "--of", "study shw"
    )


@pytest.mark.parametrize("command", SAYS)
def test_a_command_says_one_json_object_and_nothing_else(command: str, table_study: Study, tmp_path: Path) -> None:
    folder = table_study.record.folder
    spec = small(task={"kind": "digits"}, bounds={"trial_seeds": 0})
    words = {
        "SPEC": lambda: write_yaml(tmp_path / "spec.yaml", spec),
        "DIR": lambda: folder,
        "RUNS": lambda: folder.parent,
        "TABLE": lambda: write_table(tmp_path / "new.csv", table(12)),
        "FILE.csv": lambda: tmp_path / "out.csv",
    }
    done = lab(*(words[word]() if word in words else word for word in command.split()), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout, parse_constant=pytest.fail)  # NaN is Python's, not JSON's
    assert SAYS[command](said), said
    validator_of(command).validate(said)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("study show nowhere --json", "nowhere"),
        ("schedule one_cycle --csv - --json", "--csv: '-' is standard output"),
        ("study status nowhere --json --watch", "--watch: shows lines"),
        ("schedule nonsense --json", "nonsense"),
    ],
)
def test_what_is_refused_is_refused_in_one_line_and_says_nothing_to_programs(
    command: str, says: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert says in refuse(capfd, monkeypatch, *command.split())


def test_a_task_that_fails_says_which_points_failed_and_ends_as_before(tmp_path: Path) -> None:
    text = (ROOT / "lab/tasks/templates/task.py.txt").read_text().replace("FILE", "mine").replace("NAME", "Mine")
    (tmp_path / "mine.py").write_text(
        text + "\n\nprint('begun')\nMine.loss = lambda self, output, target: output.sum()\n"
    )
    done = lab("task", "check", "mine.py:Mine", "--json", cwd=tmp_path)
    assert done.returncode != 0
    *printed, last = done.stderr.splitlines()
    assert (set(printed), last[:5]) == ({"begun"}, "lab: "), "what a task prints is no part of the answer"
    said = json.loads(done.stdout)
    assert said["passed"] is False
    assert not all(finding["passed"] for finding in said["findings"])
