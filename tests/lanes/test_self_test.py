"""The self-test says what a lane's arithmetic can promise, and nothing else depends on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lab.lanes.engine import Promise
from lab.lanes.self_test import _difference, self_test
from lab.record.trials import read_trials
from lab.spec.plan import Job
from lab.spec.space import Float, Space
from lab.study.study import Study
from lab.training.device import DeviceLost
from lab.training.trainer import ModelTrainer
from tests.lanes.speed.test_probe import Noise, job_of
from tests.small import small_spec
from tests.training.zoo import Residual

SPACE = Space({"weight_decay": Float(1e-4, 0.1)})
EQUAL = "a trial is equal to the last bit alone, among others"


def job(path: str = "stacked", width: int = 4, threads: int = 1) -> Job:
    """In rows of four channels, which fill vectors of eight and of sixteen numbers: what is left over of a vector is
    computed in another way by PyTorch's batch norm."""
    plain = job_of(Noise(lambda params: Residual(), 1, 6, 6), SPACE)
    return replace(plain, width=width, training=replace(plain.training, path=path, threads=threads))


@pytest.fixture
def unequal_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel whose last bits depend on the row, as MKL's do where it is left to itself."""
    forward = ModelTrainer._forward

    def _forward(self: ModelTrainer, x: Tensor, active: object) -> Tensor:
        output = forward(self, x, active)  # type: ignore[arg-type]
        rows = torch.arange(len(output)).view(-1, *[1] * (output.dim() - 1))
        return output * (1 + 1e-6 * rows)

    monkeypatch.setattr(ModelTrainer, "_forward", _forward)


@pytest.mark.parametrize("path", ["stacked", "vmap", "sequential"])
@pytest.mark.parametrize("threads", [1, 2])
def test_rows_compute_alike_on_every_path(path: str, threads: int):
    promise = self_test(job(path, threads=threads))
    assert promise.among == 0, promise
    assert promise.line.startswith(EQUAL)


@pytest.mark.usefixtures("unequal_rows")
def test_rows_that_differ_are_noticed_and_by_how_much():
    promise = self_test(job())
    assert promise.among is not None
    assert 1e-8 < promise.among < 1e-3
    assert "not to the last bit" in promise.line
    assert "per step alone, among others and resumed" in promise.line


def test_another_width_is_told_apart():
    assert "with another width to about 1e-06 per step" in Promise(0.0, 3e-7).line
    assert Promise(0.0, 3e-7).line.startswith(EQUAL)
    assert Promise(0.0, 0.0).line == f"{EQUAL}, resumed and with another width"


def test_what_cannot_be_tried_is_said_and_ends_nothing():
    def build(params: object) -> nn.Module:
        raise ValueError("no such model\nsecond line")

    promise = self_test(replace(job_of(Noise(build, 6), SPACE), width=2))
    assert promise.line.endswith("alone and among others (ValueError: no such model)")
    assert promise.among is None


def test_a_lost_device_is_no_finding(monkeypatch: pytest.MonkeyPatch):
    def lost(self: ModelTrainer) -> None:
        raise DeviceLost("gone")

    monkeypatch.setattr(ModelTrainer, "epoch", lost)
    with pytest.raises(DeviceLost):
        self_test(job())


def test_a_study_keeps_the_promise_and_trains_the_same_whatever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def curves(folder: str) -> list[object]:
        study = Study.from_spec(small_spec(search={"sampler": {"kind": "random"}, "trials": 4}), tmp_path / folder)
        study.run(until="explore", quiet=False)
        said = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("numbers"))
        assert said.removeprefix("numbers").strip() == Study.open(study.record.folder).spec.provenance["numbers"]
        return [said, *[(row.params, row.curve) for row in read_trials(study.record, "explore")]]

    as_it_is = curves("a")
    monkeypatch.setattr("lab.lanes.local.self_test", lambda job: Promise(2e-7, 2e-7))
    otherwise = curves("b")
    assert EQUAL in str(as_it_is[0])
    assert "equal to about 1e-06 per step" in str(otherwise[0])
    assert as_it_is[1:] == otherwise[1:]


@pytest.mark.usefixtures("unequal_rows")
def test_a_study_whose_rows_differ_still_moves_refills_and_resumes(tmp_path: Path):
    study = Study.from_spec(small_spec(search={"trials": 6}), tmp_path / "run")
    study.run(until="bounds")
    assert "not to the last bit" in study.spec.provenance["numbers"]
    study.run(until="explore")
    assert [row.outcome for row in read_trials(study.record, "explore")] == ["completed"] * 6


def test_no_number_is_not_taken_for_zero():
    expected, other = torch.tensor([1.0, 0.0]), torch.tensor([1.0, float("nan")])
    assert _difference({"w": expected}, {"w": other}) == float("inf")
    assert _difference({"w": other}, {"w": other.clone()}) == 0
    assert _difference({"w": expected}, {"w": expected + 0.5}) == 0.5
