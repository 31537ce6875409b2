"""Data sets that a cluster reads: one with the face of Ray's, and Ray's own."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lab.errors import TaskError
from lab.record.folder import Record
from lab.study.same_data import digest_of
from lab.tasks import distributed, mapped
from lab.tasks.checks import check_data, check_task
from lab.tasks.task import Task
from tests.small import lab, small, write_yaml

X = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
Y = np.arange(300) % 2
_BLOCK = 50


class Faked:
    """With the face of `ray.data.Dataset`: its blocks come as they are ready where nobody asks for their order."""

    def __init__(self, columns: Mapping[str, Any], breaks: BaseException | None = None) -> None:
        self._columns, self._breaks = columns, breaks
        self.context = SimpleNamespace(execution_options=SimpleNamespace(preserve_order=False))
        self.reads = 0

    def count(self) -> int:
        return len(next(iter(self._columns.values())))

    def schema(self) -> Any:
        return SimpleNamespace(names=list(self._columns))

    def iter_batches(self, *, batch_size: int, batch_format: str) -> Iterator[dict[str, Any]]:
        assert batch_format == "numpy"
        assert batch_size >= _BLOCK
        self.reads += 1
        starts = range(0, self.count(), _BLOCK)
        for start in starts if self.context.execution_options.preserve_order else reversed(starts):
            if start == 200 and self._breaks is not None:
                raise self._breaks
            yield {name: column[start : start + _BLOCK] for name, column in self._columns.items()}


class DataTask(Task):
    """Whatever data it is made with."""

    def __init__(self, content: Any) -> None:
        self._content = content

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return nn.Linear(4, 2)

    def data(self, split: Any) -> Any:
        return self._content


def _objects(values: list[Any]) -> np.ndarray:
    held = np.empty(len(values), dtype=object)
    held[:] = values
    return held


@pytest.mark.parametrize(
    "columns", [{"x": X, "label": Y}, {"labels": Y, "row": _objects([*X])}], ids=["plain", "objects"]
)
def test_rows_are_read_once_in_their_order(columns: dict[str, Any]):
    faked = Faked(columns)
    task = DataTask(faked)
    for _ in range(2):
        x, y = task.data("train")
        assert torch.equal(x, torch.from_numpy(X))
        assert x.dtype == torch.float32
        assert torch.equal(y, torch.from_numpy(Y))
    assert faked.reads == 1
    assert faked.context.execution_options.preserve_order is False  # as its owner had it
    check_task(task, {})


def test_a_set_without_such_an_option_is_read_as_it_comes():
    faked = Faked({"x": X, "label": Y})
    faked.context = SimpleNamespace()
    faked.iter_batches = lambda **options: iter([{"x": X, "label": Y}])  # type: ignore[method-assign]
    assert torch.equal(DataTask(faked).data("train")[0], torch.from_numpy(X))


def test_what_is_large_lies_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mapped, "room_bytes", lambda: 100)
    task = DataTask(Faked({"x": X, "label": Y}))
    task.cache = tmp_path / "data"
    x, y = task.data("train")
    assert torch.equal(x, torch.from_numpy(X))
    assert torch.equal(y, torch.from_numpy(Y))
    assert (tmp_path / "data").exists()


def test_lanes_are_handed_what_was_read():
    class Doubled(DataTask):
        def data(self, split: Any) -> Any:
            x, y = super().data(split)
            return 2 * x, y

    for kind in (DataTask, Doubled):
        task = kind(Faked({"x": X, "label": Y}))
        assert not task.takes
        pair = task.data("train")
        assert task.takes
        lane = kind(object())
        lane.take({"train": pair})
        assert all(torch.equal(own, other) for own, other in zip(lane.data("train"), pair, strict=True))
    assert not DataTask((torch.from_numpy(X), torch.from_numpy(Y))).takes
    again = pickle.loads(pickle.dumps(DataTask(Faked({"x": X, "label": Y}))))
    assert torch.equal(again.data("train")[0], torch.from_numpy(X))


_OF_A_WORKER = """ray::Map(boom)() (pid=7835)
  File "task.py", line 5, in boom
OSError: disk gone

The above exception was the direct cause of the following exception:

ray::Map(boom)() (pid=7835)
UserCodeException: UDF failed to process a data block.
To change retry attempts, configure"""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Faked({"x": X[:0], "label": Y[:0]}), r"gives no example$"),
        (Faked({"x": X}), r"has columns x; give one input, and its target as 'label' or 'labels'$"),
        (Faked({"label": Y}), r"has columns label; give one input, and its target"),
        (Faked({"x": X, "y": Y}), r"has columns x, y; give one input, and its target"),
        (Faked({"a": X, "b": X, "label": Y}), r"has columns a, b, label; give one input, and its target"),
        (
            Faked({"x": _objects([row[: 3 + (i == 7)] for i, row in enumerate(X)]), "label": Y}),
            r"column 'x': rows have several shapes, \(3,\) and \(4,\) among them; make them alike$",
        ),
        (
            Faked({"x": _objects([row[: 3 + (i < 50)] for i, row in enumerate(X)]), "label": Y}),
            r"rows have several shapes, \(4,\) and \(3,\) among them; make them alike$",
        ),
        (Faked({"x": X, "label": _objects(["a", "b"] * 150)}), r"column 'label' holds str; give numbers, or arrays"),
        (Faked({"x": X, "label": np.array(["a", "b"] * 150)}), r"column 'label' holds str_; give numbers"),
        (Faked({"x": X, "label": _objects([1, None] * 150)}), r"column 'label' holds NoneType/int; give numbers"),
        (Faked({"x": X, "label": np.array(["2024-01-01"] * 300, "datetime64[s]")}), r"holds datetime64; give numbers"),
        (Faked({"x": X, "label": Y}, OSError("disk gone")), r"reading stopped after 200 examples \(disk gone\)$"),
        (
            Faked({"x": X, "label": Y}, RuntimeError(_OF_A_WORKER)),
            r"stopped after 200 examples \(OSError: disk gone\)$",
        ),
    ],
)
def test_what_cannot_be_read_is_said_in_a_line(content: Any, message: str):
    with pytest.raises(TaskError, match=r"^DataTask\.data\('train'\): .*" + message) as refused:
        check_data(DataTask(content), "train")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("other", [(), [], {}, X, torch.zeros(2), "text", None])
def test_nothing_else_is_taken_for_one(other: Any):
    assert not distributed.is_distributed(other)


_OF_RAY = """
import os, time
import numpy as np, ray, torch
import ray.data
import lab

class Parity(lab.Task):
    def model(self, params):
        return torch.nn.Linear(3, 2)

    def data(self, split):
        with open(os.environ["READERS"], "a") as file:
            file.write(f"{os.getpid()}\\n")
        if not ray.is_initialized():
            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
        shift = {"train": 0, "valid": 1, "test": 2}[split]

        def row(given):
            i = given["id"]
            time.sleep(0.2 if i == 0 else 0)  # so that other blocks are ready first
            return {"x": np.array([i % 2, i / 64, shift], dtype="float32"), "label": i % 2}

        return ray.data.range(64, override_num_blocks=4).map(row)
"""


class _Rows(Task):
    """The rows that Ray is to read."""

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        return nn.Linear(3, 2)

    def data(self, split: Any) -> tuple[Tensor, Tensor]:
        i, shift = torch.arange(64), {"train": 0, "valid": 1, "test": 2}[split]
        return torch.stack([(i % 2).float(), i / 64, torch.full((64,), float(shift))], dim=1), i % 2


@pytest.mark.slow
def test_ray_s_own_are_read_in_order_by_the_driver_and_trained_on_by_lanes_on_ray(tmp_path: Path):
    (tmp_path / "parity.py").write_text(_OF_RAY)
    task = f"{tmp_path / 'parity.py'}:Parity"
    spec = small(name="parity", task=task, space={"max_lr": {"low": 0.01, "high": 0.3}}, search={"trials": 2})
    arguments = ("study", "run", write_yaml(tmp_path / "spec.yaml", spec), "--dir", tmp_path / "run")
    on_ray = ("--engine", "ray", "--until", "explore")
    done = lab(*arguments, *on_ray, READERS=str(tmp_path / "readers"), RAY_USAGE_STATS_ENABLED="0")
    assert done.returncode == 0, done.stderr
    assert len(set((tmp_path / "readers").read_text().split())) == 1
    assert Record(tmp_path / "run").task()["data"] == digest_of(_Rows(), None)
