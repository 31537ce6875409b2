"""`lab schedule`: a schedule as a table or a picture, before anything runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lab.cli.answers import ScheduleKinds, ScheduleTable
from lab.cli.say import AsJson, say_answer
from lab.errors import SpecError

Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A field; repeatable.")]


def schedule(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="one_cycle, sgdr, wsd, ...; 'list' lists them.")],
    set_: Sets = None,
    steps: Annotated[int, typer.Option(max=10_000_000, help="Optimizer steps in all.")] = 100,
    csv: Annotated[str | None, typer.Option("--csv", metavar="FILE|-", help="Write every step as CSV.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE.html|png", help="Draw it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a schedule does at every step: lr, momentum, weight decay."""
    from lab import plugins
    from lab.record.folder import write_bytes
    from lab.record.spec_file import parse_override
    from lab.report.figure_file import check_ending, write_figure
    from lab.schedules import KINDS, parse_schedule

    if kind == "list":
        kinds = {name: (cls.__doc__ or "").splitlines()[0] for name, cls in KINDS.items()}
        others = plugins.registered("lab.schedules")
        if as_json:
            say_answer(ScheduleKinds(kinds, others))
            return
        for name, meaning in kinds.items():
            print(f"{name}: {meaning}")
        for name, package in others.items():
            print(f"{name}: of package {package}")
        return
    if as_json and csv == "-":
        raise SpecError("--csv", "'-' is standard output, which --json has for itself")
    if plot is not None:
        check_ending(plot)
    made = parse_schedule({"kind": kind, **dict(parse_override(text) for text in set_ or [])})
    table = made.table(steps)
    if csv == "-":
        table.to_csv(sys.stdout, index=False)
    elif csv is not None:
        write_bytes(Path(csv), table.to_csv(index=False).encode())
    if plot is not None:
        write_figure(made.plot(steps), plot)
    if as_json:
        columns = {name: table[name].tolist() for name in table.columns}
        say_answer(ScheduleTable(made.to_dict(), steps, made.cycle_ends(steps), columns))
    elif csv is None and plot is None:
        print(made.picture())
        print(f"lr {table.lr.iloc[0]:.4g} -> {table.lr.max():.4g} -> {table.lr.iloc[-1]:.4g} over {steps} steps")
        print(f"cycle ends at steps {', '.join(map(str, made.cycle_ends(steps)))}")
