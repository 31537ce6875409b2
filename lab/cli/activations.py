"""`lab study activations`: what the layers of the confirmed setup's net give while it is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab.cli.looking import Folder, Trust
from lab.cli.predict import harmless
from lab.cli.say import say
from lab.errors import SpecError


def activations(
    folder: Folder,
    epochs: Annotated[
        int | None, typer.Option("--epochs", help="Of its 1cycle; default: those of the search's trials.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="A CSV file; default: activations.csv there.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.html|png", help="Default: activations.html there.")
    ] = None,
    trust: Trust = False,
) -> None:
    """Train the confirmed setup once more and look at its layers: mean, spread and what is next to nothing, step by
    step; names those that are dead, explode or vanish."""
    from lab.record.folder import write_bytes
    from lab.report.figure_file import check_ending, write_figure
    from lab.report.page import has_plotly
    from lab.study.activations import of_study
    from lab.study.study import Study

    path = output or folder / "activations.csv"
    if path.is_dir():  # said now, and not when all is trained
        raise SpecError("--output", f"{path}: is a folder; give a CSV file")
    drawn = plot or (folder / "activations.html" if has_plotly() else None)
    if drawn is not None:
        check_ending(drawn)
    study = Study.open(folder, trust=trust)
    health = of_study(study.spec, study.record, epochs, quiet=False)
    write_bytes(path, harmless(health.history)[0].to_csv(index=False).encode())
    if drawn is not None:
        write_figure(health.plot(), drawn)
    say(health.layers.to_string(index=False, float_format=lambda value: f"{value:.3g}"))
    say(f"health    {health.line}")
    say(f"table     {path}: every layer at {health.history['step'].nunique()} steps")
    if drawn is not None:
        say(f"plot      {drawn}")
