"""`lab distill`: one small model that imitates a study's ensemble."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab.cli.predict import Finished, TrustCode
from lab.cli.say import say
from lab.errors import Interrupted


def distill(
    folder: Finished,
    output: Annotated[Path, typer.Option("--output", metavar="FOLDER", help="The model folder to write.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NET",
            help="The net: what the task's option model may be, or of a table its layers: 64,32. Default: the study's.",
        ),
    ] = None,
    made_up: Annotated[int, typer.Option("--made-up", min=0, help="Rows that are made up of each training row.")] = 4,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="On given and made-up rows; default: as the final models.")
    ] = None,
    trust: TrustCode = False,
) -> None:
    """Train one net on what the ensemble predicts, and write it as a model folder that runs without lab."""
    from lab.study.distill import distill as train
    from lab.study.distillation import card
    from lab.study.model_folder import CARD
    from lab.study.study import Study

    study = Study.open(folder, trust=trust)
    try:
        result = train(study, output, model=model, made_up=made_up, epochs=epochs, quiet=False)
    except Interrupted as error:
        raise Interrupted(f"{error}; the same command goes on with it") from None
    for line in card(result):
        say(line.removeprefix("- "))
    say(f"next      see {output / CARD}")
