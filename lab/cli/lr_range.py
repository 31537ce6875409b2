"""`lab lr-range`: a learning-rate range test, its picture and what it suggests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab.cli.say import AsJson, say, say_answer

Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override the spec; repeatable.")]


def lr_range(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="A study's YAML file.", show_default=False)],
    seeds: Annotated[int, typer.Option(min=1, help="Runs for each weight decay.")] = 5,
    set_: Sets = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE.html|png", help="Draw it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Test the learning rates of a study's task in this process, and suggest one with its interval."""
    from lab.record.spec_file import parse_override, read_spec
    from lab.report.figure_file import check_ending, write_figure
    from lab.study.range_test import lr_range_of

    if plot is not None:
        check_ending(plot)
    overrides = {"bounds.seeds": seeds} | dict(parse_override(text) for text in set_ or [])
    tested = lr_range_of(read_spec(spec, overrides), quiet=False)
    if plot is not None:
        write_figure(tested.plot(), plot)
    if as_json:
        say_answer(tested.answer)
        return
    sure = "one run told, so no interval"
    if tested.sure is not None:
        sure = "between runs: {:.3g} to {:.3g}".format(*tested.sure)
    marks = "between marks: {:.3g} to {:.3g}".format(*tested.marks)
    if tested.read.by_curve is None:
        say(f"max_lr        {tested.suggestion:.3g}  ({sure}; {marks})")
    else:
        say(f"max_lr        {tested.suggestion:.3g}  (by the short trainings)")
        say(f"curves        {tested.by_curve:.3g}  ({sure}; {marks})")
    for one in tested.tried:
        scores = ", ".join("diverged" if score is None else f"{score:.4g}" for score in one.scores)
        say(f"tried         {one.lr:.3g}  {scores}")
    say("search        {:.3g} to {:.3g}".format(*tested.bounds))
    if tested.weight_decay is not None:
        say(f"weight decay  {tested.weight_decay:g}  (the largest that costs no loss)")
    say("other rules   " + ", ".join(f"{name} {lr:.3g}" for name, lr in tested.rules.items()))
