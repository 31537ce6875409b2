"""`lab study suspects`: the labels that are probably wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli.looking import Folder, Trust
from lab.cli.predict import harmless
from lab.cli.say import say
from lab.errors import EngineLost, Interrupted, SpecError

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 15
"""Rows that the terminal shows."""
_WIDEST = 40
"""Letters of a cell there."""


def suspects(
    folder: Folder,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="A CSV file; default: suspects.csv there.")
    ] = None,
    top: Annotated[
        int | None,
        typer.Option("--top", min=1, help="Rows of the file; default: all that are suspected, and 100 at least."),
    ] = None,
    folds: Annotated[
        int, typer.Option("--folds", help="Parts, each judged by models that were trained without it.")
    ] = 5,
    seeds: Annotated[int, typer.Option("--seeds", help="Models for each fold.")] = 2,
    engine: Annotated[
        str | None, typer.Option("--engine", metavar="auto|ray|local", help="Where lanes run; default: as the study's.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster: auto, HOST:PORT or ray://HOST:PORT.")] = None,
    lanes: Annotated[int | None, typer.Option(min=1, help="Lanes (workers).")] = None,
    trust: Trust = False,
) -> None:
    """Find labels that are probably wrong: train the confirmed setup without each fold, and judge the rows left out."""
    from lab.record.folder import write_bytes
    from lab.study.study import Study
    from lab.study.suspects import suspects as find

    path = output or folder / "suspects.csv"
    if path.is_dir():  # said now, and not when all is trained
        raise SpecError("--output", f"{path}: is a folder; give a CSV file")
    study = Study.open(folder, trust=trust)
    try:
        result = find(study, folds=folds, seeds=seeds, engine=engine, address=address, lanes=lanes, quiet=False)
    except (Interrupted, EngineLost) as error:
        raise type(error)(f"{error}; the same command goes on with it") from None
    table = result.shown(top)
    write_bytes(path, harmless(table)[0].to_csv(index=False).encode())
    say(_readable(table.head(_SHOWN)))
    if "suspect" in table:
        say(f"suspects  {result.count} of {len(result.rows)} labels, by {result.models} models on {result.folds} folds")
    say(f"table     {path}: the {len(table)} most doubtful rows, the worst first; look at them before you change them")


def _readable(table: pd.DataFrame) -> str:
    """A table as text whose cells have few letters."""
    short = table.copy()
    for name in short.select_dtypes(exclude=["number", "bool"]):
        texts = short[name].map(lambda value: " ".join(str(value).split()))
        short[name] = texts.map(lambda text: text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "...")
    return short.to_string(index=False, float_format=lambda value: f"{value:.3g}", max_cols=12)
