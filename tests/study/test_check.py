"""A hyperparameter that nothing reads: refused where a task is ours, doubted where it is the user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from lab.errors import LabError, SpecError
from lab.spec.plan import Recipe, TaskRef
from lab.spec.space import Choice, Dimension, Float, Int
from lab.spec.study import parse_spec
from lab.study.check import always_read, check_beside, check_components, check_read, check_settled, check_values, unread
from lab.study.estimate import estimate
from lab.study.study import Study
from lab.tasks.builtin import BUILTIN
from lab.tasks.digits import Digits
from lab.tasks.images.augmentation import Augmentation
from lab.tasks.task import Data, Split, Task
from lab.training.optimizer import SGD, AdamW
from tests.own_data import pixels, table, write_table

ALWAYS = always_read(Recipe(), {"kind": "adamw"}, {})


class Asks(Task):
    """Reads what `how` asks for."""

    def __init__(self, how: Callable[[Mapping[str, Any]], object]) -> None:
        self._how = how

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        self._how(params)
        return nn.Linear(2, 2)

    def data(self, split: Split) -> Data:
        return torch.zeros(4, 2), torch.zeros(4, dtype=torch.long)


class Draws(Asks):
    def draw(self, examples: int, random: np.random.Generator, params: Mapping[str, Any]) -> NDArray[np.float32]:
        return np.full((examples, 1), params["noise"], dtype=np.float32)


def test_what_schedules_and_the_optimizer_read():
    assert {"max_lr", "cycles", "weight_decay", "pct_start", "beta2", "max_grad_norm"} <= set(ALWAYS)
    assert "nesterov" not in ALWAYS
    assert "min_lr" in ALWAYS  # of the schedule of several cycles


@pytest.mark.parametrize(("kind", "cls"), [("adamw", AdamW), ("sgd", SGD)])
def test_the_optimizers_options_are_all_of_them(kind: str, cls: type):
    assert {f.name for f in fields(cls)} < set(always_read(Recipe(), {"kind": kind}, {}))


def test_where_the_kind_is_searched_the_options_of_each_are_read():
    read = always_read(Recipe(), {"kind": "adamw"}, {"optimizer": Choice(("adamw", "sgd"))})
    assert {"optimizer", "batch_size", "beta2", "nesterov"} <= set(read)


def test_the_built_in_tasks_say_what_they_read():
    params = dict.fromkeys(BUILTIN["digits"].reads, 0.1)
    assert unread(Digits(), [{**params, "other": 1}], ()) == ("other",)
    assert {f.name for f in fields(Augmentation)} == set(BUILTIN["images"].reads) - {
        "dropout",
        "hidden",
        "balance",
        "focal_gamma",
        "rank",
        "alpha",
        "primary_weight",
    }


def test_a_slip_of_the_pen_is_refused_with_the_name_that_was_meant():
    with pytest.raises(SpecError, match=r"space\.droput: nothing reads it \(did you mean 'dropout'\?\)"):
        check_read({"max_lr": Choice((0.1,)), "droput": Choice((0.1,))}, ALWAYS, "digits")


def test_what_no_trial_has_of_its_own_is_refused():
    with pytest.raises(SpecError, match=r"space\.epochs: nothing reads it"):
        check_read({"epochs": Choice((3,))}, ALWAYS, "table")


def test_of_a_users_task_nothing_is_refused():
    check_read({"anything": Choice((3,)), "dropout": Float(0, 7)}, ALWAYS, "mine.py:Mine")


def test_processes_that_a_users_task_is_asked_to_train_in_are_checked_before_it_is_read(tmp_path: Path):
    (tmp_path / "mine.py").write_text("class Mine: pass\n")
    asked = {"task": f"{tmp_path / 'mine.py'}:Mine", "space": {"max_lr": {"low": 0.01, "high": 0.1}}}
    execution = {"processes": 2, "sharded": True}
    with pytest.raises(SpecError, match="batch_size: 15 is not divided equally among 2 processes"):
        check_components(parse_spec({"name": "s", **asked, "batch_size": 15, "execution": execution}))
    with pytest.raises(SpecError, match=r"execution\.sharded: one process has the whole model"):
        check_components(parse_spec({"name": "s", **asked, "execution": {"processes": 1, "sharded": True}}))


@pytest.mark.parametrize(
    ("kind", "name", "dimension", "message"),
    [
        ("digits", "dropout", Float(0.0, 1.5), "1.5 is not at least 0 and below 1"),
        ("digits", "dropout", Float(-0.2, 0.5), "-0.2 is not at least 0 and below 1"),
        ("table", "embedding_dropout", Choice((0.0, 1)), "1 is not at least 0 and below 1"),
        ("table", "dropout", Choice(("none", 0.1)), "'none' is not at least 0 and below 1"),
        ("images", "shift", Int(-1, 4), "-1 is not at least 0$"),
        ("images", "mixup", Float(0.1, 200.0), "200.0 is not at least 0 and below 100"),
    ],
)
def test_values_that_a_built_in_task_cannot_take_are_refused_before_a_trial_has_them(
    kind: str, name: str, dimension: Dimension, message: str
):
    with pytest.raises(SpecError, match=rf"space\.{name}: {message}"):
        check_read({name: dimension}, ALWAYS, kind)


@pytest.mark.parametrize(
    ("options", "name", "message"),
    [
        ({}, "hidden", r"is for a net that begins with weights"),
        ({"model": "timm:tiny", "from_study": "runs/heads"}, "hidden", r"is that of the head of task\.from_study"),
        ({"model": "timm:tiny", "pretrained": True, "train": "head"}, "cutout", r"has no effect where task\.train is"),
    ],
)
def test_what_the_options_leave_nothing_to_search_of_is_refused(options: dict[str, Any], name: str, message: str):
    ref = TaskRef("images", {"path": "photos", **options})
    with pytest.raises(SpecError, match=rf"^space\.{name}: {message}"):
        check_settled({"dropout": Float(0.0, 0.5), name: Choice((0, 8))}, ref)
    check_settled({"dropout": Float(0.0, 0.5)}, ref)
    check_settled({name: Choice((0, 8))}, TaskRef("mine.py:Mine"))


def test_the_ends_that_are_possible_are_taken():
    check_read({"dropout": Float(0.0, 0.99), "flip": Choice((False, True)), "cutout": Int(0, 8)}, ALWAYS, "images")


@pytest.mark.parametrize(
    "how",
    [
        lambda p: p["width"],
        lambda p: p.get("width"),
        lambda p: "width" in p,
        lambda p: dict(p),
        lambda p: {**p},
        lambda p: (lambda **kw: kw)(**p),
        lambda p: list(p),
        lambda p: list(p.items()),
        lambda p: p.copy(),
        lambda p: 1 / 0,
    ],
)
def test_every_way_to_ask_counts(how: Callable[[Mapping[str, Any]], object]):
    assert unread(Asks(how), [{"max_lr": 0.1, "width": 3}], ALWAYS) == ()


def test_what_is_not_asked_for_is_told():
    assert unread(Asks(lambda p: p.get("width")), [{"max_lr": 0.1, "widht": 3}], ALWAYS) == ("widht",)


def test_what_only_a_batch_is_drawn_with_is_read():
    assert unread(Draws(lambda p: None), [{"noise": 3}], ()) == ()


def test_one_that_exists_in_some_settings_only_is_read_there():
    def how(params: Mapping[str, Any]) -> object:
        return params["depth"] if params["deep"] else None

    assert unread(Asks(how), [{"deep": False}, {"deep": True, "depth": 3}], ()) == ()


SPACE = {"max_lr": {"low": 1e-3, "high": 0.1, "log": True}}


def _refused_by_both(value: dict[str, Any], folder: Path, message: str, probe: bool = False) -> None:
    """By `lab study check` and by a run, in the same words, and nothing is left behind."""
    asked = {"name": "s", "space": SPACE, "batch_size": 16, "search": {"trials": 1, "epochs": 1}, **value}
    for attempt in (
        lambda: estimate(parse_spec(asked), probe),
        lambda: Study.from_spec(parse_spec(asked), folder / "run").run(engine="local", lanes=1, width=1, quiet=True),
    ):
        with pytest.raises(LabError) as caught:
            attempt()
        assert str(caught.value).startswith(message)
        assert "\n" not in str(caught.value)
    assert not (folder / "run").exists()


OF_VALUES, OF_LABELS = {"target": "number"}, {"target": ["l1", "l2"]}
OF_SEVERAL = {"target": ["answer", "number"]}
SHARE = {"low": 0.0, "high": 0.5}


@pytest.mark.parametrize(
    ("options", "space", "message"),
    [
        (OF_VALUES | {"balance": 0.5}, {}, "task.balance: 0.5 is for a target of classes alone; this one's are values"),
        (OF_LABELS | {"balance": 0.5}, {}, "task.balance: 0.5 is for a target of classes alone; this one's are labels"),
        (
            OF_SEVERAL | {"balance": 1},
            {},
            "task.balance: 1 is for a target of classes alone; this one's are of",
        ),
        (
            OF_VALUES | {"focal_gamma": 2},
            {},
            "task.focal_gamma: 2 is for a target of classes or labels; this one's are",
        ),
        (OF_VALUES, {"balance": SHARE}, "space.balance: is for a target of classes alone; this one's are values"),
        (OF_SEVERAL, {"focal_gamma": SHARE}, "space.focal_gamma: is for a target of classes or labels"),
        (OF_VALUES, {"primary_weight": {"low": 1, "high": 2}}, "space.primary_weight: is for several targets, some of"),
        (OF_VALUES, {"bins": {"choice": [0, 8]}}, "space.bins: 8 is neither 0 nor those of task.bins: 16"),
        (OF_VALUES, {"bins": {"low": 0, "high": 16, "int": True}}, "space.bins: 1 is neither 0 nor those of"),
    ],
)
def test_what_a_target_or_an_option_leaves_nothing_to_say_of_is_refused_when_it_is_checked(
    options: dict[str, Any], space: dict[str, Any], message: str, tmp_path: Path
):
    frame = table().assign(l1=[0, 1] * 30, l2=[0, 0, 1] * 20)
    task = {"kind": "table", "path": str(write_table(tmp_path / "t.csv", frame)), **options}
    _refused_by_both({"task": task, "space": SPACE | space}, tmp_path, message)


def test_what_a_trial_mixes_of_values_is_refused_when_it_is_checked(tmp_path: Path):
    Image.fromarray(pixels()[0]).save(tmp_path / "one.png")
    rows = "".join(f"one.png,{i % 7}\n" for i in range(60))
    (tmp_path / "i.csv").write_text("image,size\n" + rows)
    task = {"kind": "images", "path": str(tmp_path / "i.csv"), "target": "size", "target_type": "number"}
    _refused_by_both({"task": task | {"mixup": 0.2}}, tmp_path, "task.mixup: 0.2 is for a target of classes or labels")
    _refused_by_both({"task": task, "space": SPACE | {"mixup": SHARE}}, tmp_path, "space.mixup: is for a target of")


def test_widths_that_do_not_divide_into_heads_are_refused():
    ref = TaskRef("text", {"path": "t.csv", "model": "transformer"})
    check_values({"width": Choice((32, 64))}, ref)
    check_values({"width": Choice((33, 64))}, TaskRef("text", {"path": "t.csv"}))
    with pytest.raises(SpecError, match=r"^space\.width: 66 does not divide into task\.heads: 4$"):
        check_values({"width": Choice((64, 66))}, ref)
    with pytest.raises(SpecError, match=r"^space\.width: 33 does not divide .*: 4; give a choice of values$"):
        check_values({"width": Int(32, 64)}, ref)


def test_a_kind_that_nobody_has_said_refuses_nothing():
    spec = parse_spec(
        {"name": "s", "task": {"kind": "table", "path": "t", "target": "y"}, "space": SPACE | {"balance": SHARE}}
    )
    check_beside(spec, "")
    check_beside(spec, "classification")
    with pytest.raises(SpecError, match=r"^space\.balance"):
        check_beside(spec, "regression")


@pytest.mark.parametrize(
    ("task", "constraint", "measured"),
    [
        ({"kind": "digits"}, "accurracy", r"parameters, flops, accuracy, train_loss, valid_loss"),
        (
            {"kind": "table", "target": "number", "metric": "mae"},
            "accuracy",
            "parameters, flops, mae, rmse, train",
        ),
        ({"kind": "table", **OF_SEVERAL}, "accuracy", "parameters, flops, accuracy_answer, rmse_number, train_loss"),
    ],
)
def test_a_constraint_of_what_is_not_measured_is_refused_when_it_is_checked(
    task: dict[str, Any], constraint: str, measured: str, tmp_path: Path
):
    own = {} if task["kind"] == "digits" else {"path": str(write_table(tmp_path / "t.csv", table()))}
    search = {"trials": 1, "epochs": 1, "constraints": {constraint: {"at_least": 0.5}}}
    asked = parse_spec({"name": "s", "task": task | own, "space": SPACE, "batch_size": 16, "search": search})
    with pytest.raises(SpecError) as caught:
        estimate(asked, probe=False)
    said = str(caught.value)
    assert said.startswith(f"search.constraints.{constraint}: is not measured")
    assert f"measured are {measured}" in said


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": {"objective": "loss"}}, "search.objective: 'loss' is of a lab.Task"),
        ({"space": {"max_lr": {"from": "bounds"}}}, "space.max_lr: a trial function has no range test"),
    ],
)
def test_what_a_trial_function_cannot_do_is_refused_when_it_is_probed(
    changes: dict[str, Any], message: str, tmp_path: Path
):
    file = tmp_path / "f.py"
    file.write_text(
        "import lab\n\n@lab.trial_function(metric='m', direction='maximize')\ndef f(trial):\n    yield {'m': 0.5}\n"
    )
    _refused_by_both({"task": {"kind": f"{file}:f"}, **changes}, tmp_path, message, probe=True)


@pytest.mark.parametrize(
    ("written", "where", "message"),
    [
        ("def scor(o, t):\n    return o\n", True, ": has no 'score' (did you mean 'scor'?)"),
        ("def score(o, t:\n", False, ":1: SyntaxError: "),
        ("score = 1\0", False, ""),
    ],
)
def test_a_name_that_a_users_file_has_not_is_refused_without_running_it(
    written: str, where: bool, message: str, tmp_path: Path
):
    file = tmp_path / "m.py"
    file.write_text(written)
    path = str(write_table(tmp_path / "t.csv", table()))
    task = {"kind": "table", "path": path, **OF_VALUES, "metric": f"{file}:score", "direction": "minimize"}
    _refused_by_both({"task": task}, tmp_path, f"{'task.metric: ' if where else ''}{file}{message}")
    with pytest.raises(LabError) as caught:
        estimate(parse_spec({"name": "s", "task": {"kind": f"{file}:score"}, "space": SPACE}), probe=False)
    assert str(caught.value).startswith(f"{'task.kind: ' if where else ''}{file}{message}")


@pytest.mark.parametrize(
    "written",
    [
        "def score(o, t): ...",
        "class score: ...",
        "from other import score",
        "import numpy as score",
        "if True:\n    score = print",
        "from other import *",
        "def __getattr__(name): ...",
        "globals()['score'] = print",
        "try:\n    import other as score\nexcept ImportError:\n    pass",
    ],
)
def test_a_name_that_a_users_file_may_have_is_not_refused(written: str, tmp_path: Path):
    file = tmp_path / "m.py"
    file.write_text(written + "\nraise SystemExit('it was run')\n")
    estimate(parse_spec({"name": "s", "task": {"kind": f"{file}:score"}, "space": SPACE}), probe=False)
