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
from torch import nn

from lab.errors import SpecError
from lab.spec.plan import Recipe, TaskRef
from lab.spec.space import Choice, Dimension, Float, Int
from lab.spec.study import parse_spec
from lab.study.check import always_read, check_components, check_read, check_settled, unread
from lab.tasks.builtin import BUILTIN
from lab.tasks.digits import Digits
from lab.tasks.images.augmentation import Augmentation
from lab.tasks.task import Data, Split, Task
from lab.training.optimizer import SGD, AdamW

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
