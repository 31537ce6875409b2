"""`lab embeddings`: what a finished study's net has learned of inputs, for other models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lab.cli.predict import Finished, TrustCode
from lab.cli.say import say
from lab.errors import SpecError


def embeddings(
    folder: Finished,
    input: Annotated[  # noqa: A002
        Path, typer.Option(metavar="PATH", help="What the task reads: a table, images, an npz, a CSV of numbers.")
    ],
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="A .parquet or .csv file.")],
    trust: TrustCode = False,
) -> None:
    """Write what a study's net makes of each input: entity embeddings of a table, features before the head else."""
    import io

    import pandas as pd

    from lab.record.folder import write_bytes
    from lab.study.study import Study

    if output.suffix not in (".parquet", ".csv"):
        raise SpecError("--output", f"{output.name}: is neither .parquet nor .csv")
    ensemble = Study.open(folder, trust=trust).result.ensemble
    inputs = ensemble.read(input)
    for note in inputs.notes:
        say(f"{input}: {note}", file=sys.stderr)
    names, numbers = ensemble.embed(inputs.x)
    table = pd.DataFrame(numbers.numpy(), columns=[*names])
    if inputs.names:
        table.insert(0, "input", [*inputs.names])
    stream = io.BytesIO()
    (table.to_parquet if output.suffix == ".parquet" else table.to_csv)(stream, index=False)
    write_bytes(output, stream.getvalue())
    say(f"{output}: {len(names)} numbers of each of {len(table)} inputs")
