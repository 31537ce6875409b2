"""The stages as a terminal shows them while a study runs."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from lab.spec.exchange import Progress
from lab.study.live_view import StageView, stages_view
from lab.study.progress import Display, describe


def drawn(stages: list[StageView], width: int = 100) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(stages_view(stages))
    out = console.file
    assert isinstance(out, io.StringIO)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def progress(**changes: object) -> Progress:
    fields: dict[str, object] = {"stage": "explore", "planned": 64, "counts": {"completed": 10, "diverged": 2}}
    fields |= {"running": 7, "epochs_done": 300, "epochs_planned": 1728, "best": 0.9, "finished": False}
    return Progress(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [80, 120])
def test_what_is_said_gives_way_and_neither_name_nor_bar(width: int) -> None:
    lines = drawn([StageView("bounds", 1.0), StageView("explore", 0.5, True, "word " * 40)], width)
    assert [line.split()[0] for line in lines] == ["bounds", "explore"]
    assert [line.count("━") + line.count("╸") for line in lines] == [24, 12]
    assert lines[1].index("word") == 9 + 1 + 24 + 1
    assert lines[1].endswith("…")
    assert all(len(line) <= width for line in lines)


def test_a_line_says_what_runs_how_long_it_will_take_and_what_is_best() -> None:
    said = describe(progress(best_params={"max_lr": 0.0149, "cycles": 1}), 30.0, 90.0)
    assert said == (
        "12/64 trials, 7 running, 2 diverged, 30 s left (2 minutes for the study), best 0.9 (max_lr 0.0149, cycles 1)"
    )
    assert describe(progress(best=None, counts={}), None) == "0/64 trials, 7 running"


def test_a_display_counts_the_stages_that_are_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("lab.study.progress.time.monotonic", lambda: clock[0])
    said: list[str] = []
    display = Display()
    monkeypatch.setattr(display, "say", said.append)
    display.plan(["bounds", "explore", "confirm"], {"explore": 1728, "confirm": 400})
    display.stage("explore")
    display.watch(progress(epochs_done=0))
    clock[0] = 100.0
    display.watch(progress(epochs_done=500))
    # A fifth of a second an epoch: 1228 of this stage are left, and 400 of the next.
    assert said[-1].startswith(
        "explore   12/64 trials, 7 running, 2 diverged, 4.1 minutes left (5.4 minutes for the study"
    )


def test_a_notebook_is_told_and_a_script_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Display(None) as display:
        display.say("in a script")
    monkeypatch.setattr("lab.study.progress.in_notebook", lambda: True)
    with Display(None) as display:
        display.say("in a notebook")
    assert capsys.readouterr().err == "in a notebook\n"
