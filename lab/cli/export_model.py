"""`lab export-model`: what a finished study hands out, in files that PyTorch alone reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab.cli.predict import Finished, TrustCode
from lab.cli.say import say


def export_model(
    folder: Finished,
    output: Annotated[Path, typer.Option("--output", metavar="FOLDER", help="The folder to write.")],
    input: Annotated[  # noqa: A002
        Path | None,
        typer.Option(metavar="PATH", help="Inputs to check it with, as `lab predict` reads them; default: test data."),
    ] = None,
    trust: TrustCode = False,
) -> None:
    """Write the nets as one PyTorch program with a model card; it runs without lab."""
    from lab.study.model_folder import CARD, PROGRAM, export_model
    from lab.study.study import Study

    result = Study.open(folder, trust=trust).result
    ensemble = result.ensemble
    x, y = ensemble.test_data() if input is None else (ensemble.read(input).x, None)
    written = export_model(ensemble, result.summary, output, x, y)
    say(
        f"{output}: {PROGRAM}, {written.nets} nets as one; on {written.examples} examples it differs by at most "
        f"{written.difference:.2g} from the study's"
    )
    for name in written.left_out:
        say(f"{output}: left out, since it is no net: {name}")
    say(f"next      see {output / CARD}")
