"""Tasks, samplers and schedules of other packages, and what is said of broken ones."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest

from lab import plugins
from lab.errors import LabError, SpecError, TaskError
from lab.lanes.ray import code_transfer
from lab.lanes.ray.jobs import pack_spec
from lab.record.spec_file import dump_spec, read_spec
from lab.schedules import parse_schedule, schedule_class
from lab.search.by_name import sampler_source
from lab.spec.plan import TaskRef
from lab.spec.study import parse_spec
from lab.study.study import Study
from lab.tasks.load import check_reference, load_task
from lab.tasks.task import Task, TrialFunction
from tests.cli.refusal import refuse
from tests.plugin_package import SCHEDULES, SEARCH, TASKS, write_package
from tests.small import small, write_yaml

_numbers = itertools.count()
Install = Callable[..., str]
SPACE = {"x": optuna.distributions.FloatDistribution(0, 1)}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a package of a fresh name with the modules `tasks`, `search` and `schedules`; its name."""

    def install(points: Mapping[str, Mapping[str, str]], **modules: str) -> str:
        package = f"demo_{next(_numbers)}"
        modules = {"tasks": TASKS, "search": SEARCH, "schedules": SCHEDULES, **modules}
        named = {group: {n: at.format(package) for n, at in entries.items()} for group, entries in points.items()}
        monkeypatch.syspath_prepend(write_package(tmp_path / package, package, modules, named))
        return package

    return install


def test_a_task_is_taken_from_a_module_by_name(install: Install):
    package = install({})
    task = load_task(TaskRef(f"{package}.tasks:Waves", {"examples": 30}))
    assert isinstance(task, Task)
    assert len(task.data("train")[0]) == 10
    assert isinstance(load_task(TaskRef(f"{package}.tasks:train")), TrialFunction)


def test_a_task_that_a_package_registers_is_a_kind(install: Install):
    install({"lab.tasks": {"waves_a": "{}.tasks:Waves", "train_a": "{}.tasks:train"}})
    assert isinstance(load_task(TaskRef("waves_a", {"examples": 30})), Task)
    assert isinstance(load_task(TaskRef("train_a")), TrialFunction)


def test_looking_at_a_reference_imports_nothing(install: Install):
    package = install({"lab.tasks": {"waves_b": "{}.tasks:Waves"}})
    for kind in ("waves_b", f"{package}.tasks:Waves"):
        check_reference(TaskRef(kind))
    assert package not in sys.modules


@pytest.mark.parametrize(
    ("kind", "options", "error", "message"),
    [
        ("{0}.tasks:Wave", {}, TaskError, "{0}.tasks: has no 'Wave' (did you mean 'Waves'?)"),
        (
            "{0}.nothing:Waves",
            {},
            TaskError,
            "{0}.nothing: {1}/{0}: ModuleNotFoundError: No module named '{0}.nothing'",
        ),
        ("{0}.broken:Waves", {}, TaskError, "{0}.broken: {1}/{0}/broken.py:2: ZeroDivisionError: division by zero"),
        ("{0}.typo:Waves", {}, TaskError, "{0}.typo: {1}/{0}/typo.py:1: SyntaxError: "),
        ("{0}.tasks:torch", {}, TaskError, "{0}.tasks:torch: is neither a subclass of lab.Task nor made by"),
        ("{0}.tasks:Waves", {"examples": 3}, TaskError, "{0}.tasks:Waves: {1}/{0}/tasks.py:10: ValueError: too few"),
        (
            "{0}.tasks:Waves",
            {"depth": 3},
            SpecError,
            "task: {0}.tasks:Waves: got an unexpected keyword argument 'depth'",
        ),
        (
            "no_such_thing.tasks:Waves",
            {},
            SpecError,
            "task.kind: 'no_such_thing.tasks:Waves' is unknown: no module 'no_",
        ),
        (
            "waves_d",
            {},
            SpecError,
            "task.kind: 'waves_d' is unknown (did you mean 'waves_c'?); choices: digits, table, ",
        ),
        (
            "broken_c",
            {},
            SpecError,
            "task.kind: 'broken_c' of package {0} cannot be loaded from {0}.broken:Waves (ZeroDi",
        ),
        (
            "absent_c",
            {},
            SpecError,
            "task.kind: 'absent_c' of package {0} cannot be loaded from {0}.tasks:Wave (Attribut",
        ),
        ("number_c", {}, TaskError, "number_c: is neither a subclass of lab.Task nor made by @lab.trial_function"),
        ("waves_c", {"examples": 3}, TaskError, "waves_c: {1}/{0}/tasks.py:10: ValueError: too few"),
    ],
)
def test_a_package_that_holds_no_such_task_is_one_line(
    install: Install, tmp_path: Path, kind: str, options: dict[str, Any], error: type[LabError], message: str
):
    points = {"waves_c": "{}.tasks:Waves", "broken_c": "{}.broken:Waves", "absent_c": "{}.tasks:Wave"}
    package = install({"lab.tasks": {**points, "number_c": "{}.tasks:torch"}}, broken="x = 1\n1 / 0\n", typo="x = (\n")
    with pytest.raises(error) as caught:
        load_task(TaskRef(kind.format(package), options))
    assert str(caught.value).startswith(message.format(package, tmp_path / package))
    assert "\n" not in str(caught.value)


def test_a_name_that_two_packages_register_is_nobodys(install: Install):
    one, two = install({"lab.tasks": {"twice": "{}.tasks:Waves"}}), install({"lab.tasks": {"twice": "{}.tasks:Waves"}})
    assert plugins.registered("lab.tasks")["twice"] == f"{one}, {two}"
    with pytest.raises(SpecError, match=rf"^task\.kind: 'twice' is registered by several packages: {one}, {two}; "):
        load_task(TaskRef("twice"))


def test_what_comes_with_lab_cannot_be_replaced(install: Install):
    install(
        {
            "lab.tasks": {"digits": "{}.tasks:Waves"},
            "lab.samplers": {"random": "{}.search:Halton"},
            "lab.schedules": {"one_cycle": "{}.schedules:Halving"},
        }
    )
    assert type(load_task(TaskRef("digits"))).__name__ == "Digits"
    assert type(sampler_source({"kind": "random"}, 0, SPACE)(0)).__name__ == "RandomSampler"
    assert schedule_class("one_cycle").__name__ == "OneCycle"


def test_a_sampler_of_a_package_proposes_by_seed_and_number(install: Install):
    package = install({"lab.samplers": {"halton": "{}.search:Halton", "broken_s": "{}.no:X", "number_s": "math:pi"}})
    samplers = [sampler_source({"kind": "halton", "scramble": False}, seed, SPACE)(3) for seed in (1, 1, 2)]
    drawn = [optuna.create_study(sampler=sampler).ask().suggest_float("x", 0, 1) for sampler in samplers]
    assert drawn[0] == drawn[1] != drawn[2]
    for spec, message in (
        ({"kind": "halton", "scrambel": 1}, "search.sampler.scrambel: is unknown (did you mean 'scramble'?)"),
        (
            {"kind": "haltn"},
            "search.sampler.kind: 'haltn' is unknown (did you mean 'halton'?); choices: forest, random, ",
        ),
        (
            {"kind": "broken_s"},
            f"search.sampler.kind: 'broken_s' of package {package} cannot be loaded from {package}",
        ),
        ({"kind": "number_s"}, "search.sampler.kind: 'number_s' of another package is 3.14"),
    ):
        with pytest.raises(SpecError) as caught:
            sampler_source(spec, 0, SPACE)
        assert str(caught.value).startswith(message)


def test_a_schedule_of_a_package_is_a_kind(install: Install):
    points = {"halving": "{}.schedules:Halving", "misnamed": "{}.schedules:Misnamed", "number_l": "math:pi"}
    package = install({"lab.schedules": {**points, "broken_l": "{}.no:X"}})
    schedule = parse_schedule({"kind": "halving", "max_lr": 0.4, "every": 2})
    assert schedule.curves(None, 6).lr.tolist() == [0.4, 0.4, 0.2, 0.2, 0.1, 0.1]
    assert parse_schedule(schedule.to_dict()) == schedule
    spec = parse_spec(small(schedule={"one": {"kind": "halving", "every": 3}}))
    assert spec.schedule.schedule({"max_lr": 0.1}) == parse_schedule({"kind": "halving", "max_lr": 0.1, "every": 3})
    for kind, message in (
        ("halvig", "schedule.kind: 'halvig' is unknown (did you mean 'halving'?); choices: one_cycle, "),
        ("misnamed", "schedule.kind: 'misnamed' of another package is Misnamed, whose kind is 'other'"),
        ("number_l", "schedule.kind: 'number_l' of another package is 3.14"),
        ("broken_l", f"schedule.kind: 'broken_l' of package {package} cannot be loaded from {package}.no:X (Module"),
    ):
        with pytest.raises(SpecError) as caught:
            schedule_class(kind)
        assert str(caught.value).startswith(message)


def test_a_task_of_a_package_travels_by_its_name(install: Install, tmp_path: Path):
    package = install({"lab.tasks": {"waves_e": "{}.tasks:Waves"}})
    for kind in (f"{package}.tasks:Waves", "waves_e"):
        path = write_yaml(tmp_path / "study.yaml", small(task={"kind": kind, "examples": 30}))
        spec = read_spec(path)
        assert spec.task.root == str(path.parent), "where a task that names paths among its options looks"
        assert code_transfer.pack(spec.task, tmp_path / "scratch") is None
        assert code_transfer.arrived(spec.task, "lab_task_files_0") == spec.task
        pack_spec(spec, tmp_path / "job")
        assert [file.name for file in (tmp_path / "job").iterdir()] == ["study.yaml"]
        assert read_spec(tmp_path / "job" / "study.yaml").task.kind == kind
        assert dump_spec(spec)


def test_a_study_of_a_package_runs_and_goes_on(install: Install, tmp_path: Path):
    package = install({"lab.tasks": {"waves_f": "{}.tasks:Waves"}, "lab.samplers": {"halton_f": "{}.search:Halton"}})
    value = small(task={"kind": "waves_f", "examples": 90}, search={"trials": 2, "sampler": {"kind": "halton_f"}})
    value["batch_size"] = 10
    study = Study.from_spec(parse_spec(value), tmp_path / "run")
    study.run(engine="local", until="explore")
    again = Study.open(tmp_path / "run")
    assert again.result.artefact("explore")["trials"] == 2
    assert package in sys.modules


def test_commands_list_and_refuse_what_packages_register(
    install: Install, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    from lab.cli.main import main

    package = install(
        {"lab.tasks": {"waves_g": "{}.tasks:Waves"}, "lab.schedules": {"halving_g": "{}.schedules:Halving"}}
    )
    listed = {"task": f"waves_g: of package {package}", "schedule": f"halving_g: of package {package}"}
    for command, line in listed.items():
        monkeypatch.setattr("sys.argv", ["lab", command, "list"])
        with pytest.raises(SystemExit):
            main()
        assert line in capsys.readouterr().out
    assert package not in sys.modules
    refused = refuse(capsys, monkeypatch, "task", "check", f"{package}.tasks:Wave")
    assert refused.startswith(f"{package}.tasks: has no 'Wave'")
