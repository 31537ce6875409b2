"""A trial whose outputs are no numbers has diverged; what is raised on good ones is an error of the user's code."""

from __future__ import annotations

import pytest
import torch

from lab.spec.trial import Outcome
from lab.training.device import DeviceLost
from lab.training.fault import Fault, fault_of


def _raised(message: str) -> Exception:
    try:
        raise ValueError(message)
    except ValueError as error:
        return error


def test_outputs_that_are_no_numbers_are_a_diverged_trial():
    expected = Fault(Outcome.DIVERGED, "outputs not finite at step 4 (ValueError: Input contains NaN.)")
    for value in ("nan", "inf"):
        output = torch.tensor([[0.0, float(value)]])
        assert fault_of(_raised("Input contains NaN.\nA page of advice"), output, "at step 4") == expected


def test_an_error_without_words_has_its_name():
    assert fault_of(AssertionError(), torch.tensor([float("nan")]), "in validation").detail.endswith("(AssertionError)")


def test_an_error_on_good_outputs_is_told_whole():
    fault = fault_of(_raised("bad target"), torch.zeros(2, 2), "at step 4")
    assert fault.outcome is Outcome.FAILED
    assert fault.detail.startswith("Traceback")
    assert fault.detail.endswith("ValueError: bad target")


def test_what_is_no_matter_of_the_trial_is_raised(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(torch.OutOfMemoryError):
        fault_of(torch.OutOfMemoryError("CUDA out of memory"), torch.zeros(2, 2), "at step 4")

    def lost() -> None:
        raise DeviceLost("CUDA error: unspecified launch failure")

    monkeypatch.setattr("lab.training.fault.check_device", lost)
    with pytest.raises(DeviceLost):
        fault_of(_raised("bad target"), torch.zeros(2, 2), "at step 4")
