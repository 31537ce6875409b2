"""Errors are one line, keep their parts, and survive the way between processes."""

from __future__ import annotations

import pickle

import pytest

from lab import errors
from lab.errors import LabError, SpecError, nearest

KINDS = [errors.TaskError, errors.RecordError, errors.EngineError, errors.StudyError, errors.Interrupted]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_a_lab_error_and_can_be_pickled(kind: type[LabError]):
    error = pickle.loads(pickle.dumps(kind("what: why")))
    assert isinstance(error, LabError)
    assert type(error) is kind
    assert str(error) == "what: why"


def test_a_spec_error_keeps_place_and_message_through_pickle():
    error = pickle.loads(pickle.dumps(SpecError("space.lr", "is missing")))
    assert (error.path, error.message, str(error)) == ("space.lr", "is missing", "space.lr: is missing")


def test_an_interruption_ends_the_command_line_as_shells_expect():
    assert errors.Interrupted.exit_code == 130
    assert {kind.exit_code for kind in (*KINDS[:-1], SpecError)} == {2}


def test_a_near_word_is_suggested_and_a_far_one_is_not():
    assert nearest("trails", ["trials", "epochs"]) == " (did you mean 'trials'?)"
    assert nearest("zzz", ["trials", "epochs"]) == ""
    assert nearest("x", []) == ""


def test_an_error_is_one_line_that_a_terminal_can_show_whatever_it_names():
    error = SpecError("name", f"{'x' * 10_000!r} is not\na name; allowed: a, b")
    assert len(str(error)) < 1_600
    assert str(error).startswith("name: 'xxx")
    assert str(error).endswith("xxx' is not a name; allowed: a, b")
    assert str(errors.TaskError("two\n  lines")) == "two lines"
