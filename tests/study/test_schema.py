"""The JSON schema of a spec takes what the spec takes, and refuses what it refuses for one value alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from lab.cli.main import app
from lab.errors import SpecError
from lab.record.spec_file import dump_spec, load_yaml
from lab.spec.study import parse_spec
from lab.study.schema import spec_schema
from lab.tasks.load import check_reference
from tests.small import ROOT, small

RESOLVED = sorted((ROOT / "tests/golden/studies").glob("*/study.yaml"))


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = spec_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_study_of_the_repository_is_valid(validator: Draft202012Validator, path: Path) -> None:
    validator.validate(load_yaml(path.read_text(), path.name))


@pytest.mark.parametrize("path", RESOLVED, ids=lambda path: path.parent.name)
def test_a_resolved_study_is_valid_also_one_of_an_earlier_version(validator: Draft202012Validator, path: Path) -> None:
    validator.validate(load_yaml(path.read_text(), path.name))


def test_a_spec_that_is_written_again_is_valid(validator: Draft202012Validator) -> None:
    validator.validate(load_yaml(dump_spec(parse_spec(small(budget="30m"))), "study.yaml"))


@pytest.mark.parametrize(
    "changes",
    [
        {"search": {"trials": "auto", "sampler": {"kind": "tpe", "multivariate": True}}},
        {"search": {"sampler": {"kind": "optuna:CmaEsSampler", "sigma0": 0.1}, "pruner": {"kind": "forest"}}},
        {"search": {"sampler": {"kind": "forest", "prior": {"dropout": {"center": 0.1}}}}},
        {"budget": "30m"},
        {"budget": 800},
        {"schedule": {"one": {"kind": "one_cycle", "preset": "torch"}, "several": {"kind": "sgdr"}}},
        {"schedule": {"one": {"kind": "warmup", "schedule": {"kind": "snapshot"}, "share": 0.1}}},
        {"optimizer": {"kind": "sgd", "nesterov": True}},
        {"task": "package.module:Task"},
        {"task": {"kind": "mine.py:Task", "whatever": [1]}},
        {"task": {"kind": "table", "path": "t.csv", "target": ["a", "b"], "bins": "auto", "ignore": None}},
        {"final": {"snapshots": "auto"}, "execution": {"threads": "auto", "device": "cuda:1"}},
    ],
    ids=str,
)
def test_what_a_spec_may_say_is_valid(validator: Draft202012Validator, changes: dict[str, Any]) -> None:
    value = small(**changes)
    parse_spec(value)
    validator.validate(value)


@pytest.mark.parametrize(
    "changes",
    [
        {"nonsense": 1},
        {"name": "a b"},
        {"seed": -1},
        {"space": {}},
        {"space": {"max_lr": {"low": 1.0}}},
        {"space": {"max_lr": {"low": 1.0, "high": 2.0, "lgo": True}}},
        {"space": {"max_lr": {"choice": []}}},
        {"search": {"trials": 0}},
        {"search": {"trails": 4}},
        {"search": {"objective": "acuracy"}},
        {"search": {"sampler": {"kind": "forrest"}}},
        {"search": {"sampler": {"kind": "forest", "startups": 3}}},
        {"search": {"pruner": {"kind": "nope"}}},
        {"optimizer": {"kind": "adam"}},
        {"optimizer": {"kind": "sgd", "beta2": 0.9}},
        {"schedule": {"one": {"kind": "one_cycel"}}},
        {"schedule": {"one": {"kind": "one_cycle", "pct": 0.3}}},
        {"schedule": {"two": {"kind": "one_cycle"}}},
        {"execution": {"device": "gpu"}},
        {"final": {"seeds": 1.5}},
        {"bounds": {"stop_at": 1}},
        {"budget": [1]},
        {"task": "digit"},
        {"task": {"kind": "digits", "model": "resnet"}},
        {"task": {"kind": "digits", "modle": "mlp"}},
        {"task": {"kind": "table", "path": "t.csv"}},
        {"task": {"kind": "table", "path": "t.csv", "target": "y", "allow_leaks": 3}},
    ],
    ids=str,
)
def test_what_a_spec_refuses_is_refused(validator: Draft202012Validator, changes: dict[str, Any]) -> None:
    value = small(**changes)
    assert not validator.is_valid(value)
    with pytest.raises(SpecError):
        _checked(value)


def _checked(value: dict[str, Any]) -> None:
    from lab.search.by_name import build_pruner, sampler_source
    from lab.spec.optimizer import optimizer_options

    spec = parse_spec(value)
    check_reference(spec.task)
    sampler_source(spec.search.sampler, 0, {})
    build_pruner(spec.search.pruner, 3, 0)
    optimizer_options(spec.optimizer, {})


def test_the_command_prints_it() -> None:
    done = CliRunner().invoke(app, ["study", "schema"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == json.loads(json.dumps(spec_schema()))


def test_it_says_what_each_key_means() -> None:
    schema = spec_schema()
    search = schema["$defs"]["SearchSpec"]["properties"]
    assert search["objective"]["description"].startswith("What search and confirmation rank trials by")
    table = next(one for one in schema["properties"]["task"]["anyOf"][1]["allOf"] if "table" in str(one["if"]))
    assert table["then"]["properties"]["path"]["description"] == "the table: .csv, .tsv or .parquet"
