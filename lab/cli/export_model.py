"""`lab export-model`: what a finished study hands out, in files that PyTorch alone reads, or any runtime of ONNX."""

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
    to: Annotated[
        str,
        typer.Option(
            metavar="torch|onnx|hub-folder",
            help="A program of PyTorch's, or of ONNX; or PyTorch's as a Hugging Face folder, with a loader; checked by "
            "what loads it.",
        ),
    ] = "torch",
    trust: TrustCode = False,
) -> None:
    """Write the nets as one program with a model card; it runs without lab."""
    from lab.study.forms import program_of
    from lab.study.model_folder import CARD, export_model
    from lab.study.study import Study

    program_of(to)  # what is missing is said first
    result = Study.open(folder, trust=trust).result
    ensemble = result.ensemble
    x, y = ensemble.test_data() if input is None else (ensemble.read(input).x, None)
    written = export_model(ensemble, result.summary, output, x, y, to=to)
    say(
        f"{output}: {written.program}, {written.nets} nets as one; on {written.examples} examples it differs by at "
        f"most {written.difference:.2g} from the study's"
    )
    for name in written.left_out:
        say(f"{output}: left out, since it is no net: {name}")
    say(f"next      see {output / CARD}")
