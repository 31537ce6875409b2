"""What a study says while it runs."""

from __future__ import annotations

import logging

import pytest

from lab.study.progress import Display, logged


def test_what_the_package_logs_is_said_while_a_study_runs_and_not_before_or_after(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = logging.getLogger("lab.stages.anything")
    log.info("too early")
    with Display() as display:
        display.say("begun")
        log.info("baseline  %d of %d", 1, 2)
    log.info("too late")
    said: list[str] = []
    with logged(said.append):
        log.info("here")
        log.debug("not this")
    assert capsys.readouterr().err.splitlines() == ["begun", "baseline  1 of 2"]
    assert said == ["here"]
