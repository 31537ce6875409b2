"""`lab predict`: a finished study's ensemble on new inputs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import pandas as pd


def predict(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A finished study's folder.", show_default=False)],
    input: Annotated[  # noqa: A002
        Path,
        typer.Option(metavar="PATH", help="What the task reads: a table, images, an npz, a CSV of numbers."),
    ],
    output: Annotated[Path | None, typer.Option("--output", help="A CSV file; default: standard output.")] = None,
) -> None:
    """Predict with a finished study's ensemble; one CSV row per input. Scores it where the input holds the target."""
    from lab.record.folder import write_bytes
    from lab.study.study import Study

    ensemble = Study.open(folder).result.ensemble
    given = ensemble.read(input)
    for note in given.notes:
        print(f"{input}: {note}", file=sys.stderr)
    prediction = ensemble.predict(given.x)
    table = as_table(prediction.numpy(), ensemble.kind, ensemble.class_names, given.names).to_csv(index=False)
    if output is None:
        print(table, end="")
    else:
        write_bytes(output, table.encode())
    if given.y is not None:
        found = ensemble.scores(prediction, given.y)
        told = ", ".join(f"{name} {value:.6g}" for name, value in found.items())
        print(f"{input}: {told} on {len(given.y)} examples", file=sys.stderr)


def as_table(prediction: Any, kind: str, class_names: tuple[str, ...], names: tuple[str, ...] = ()) -> pd.DataFrame:
    """Predictions [n, c] or [n, ...] as a table: the class, or the labels, and every probability; or the values."""
    import pandas as pd

    flat = prediction.reshape(len(prediction), -1)
    if kind == "regression":
        fitting = class_names if len(class_names) == flat.shape[1] else ()
        table = pd.DataFrame(flat, columns=list(fitting) or [f"value{i}" for i in range(flat.shape[1])])
    else:
        known = class_names or tuple(str(i) for i in range(flat.shape[1]))
        table = pd.DataFrame(flat, columns=[f"p_{name}" for name in known])
        if kind == "classification":
            table.insert(0, "class", [known[i] for i in flat.argmax(axis=1)])
        else:
            chosen = [" ".join(name for name, p in zip(known, row, strict=True) if p > 0.5) for row in flat]
            table.insert(0, "labels", chosen)
    if names:
        table.insert(0, "name", list(names))
    return table
