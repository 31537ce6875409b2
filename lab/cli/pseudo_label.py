"""`lab study pseudo-label`: a second round of final models, on examples that nobody has labelled too."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from lab.cli.looking import Folder, Trust
from lab.cli.say import say
from lab.errors import Interrupted


def pseudo_label(
    folder: Folder,
    unlabelled: Annotated[
        Path, typer.Option(metavar="PATH", help="Examples without labels, as `lab predict` reads them.")
    ],
    confidence: Annotated[
        float | None,
        typer.Option("--confidence", help="From which probability on a prediction is a label; default: 0.9."),
    ] = None,
    share: Annotated[
        float, typer.Option("--share", help="Share of pseudo-labelled examples in a batch, on average.")
    ] = 0.5,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", min=1, help="Passes over the labelled examples; default: as the final models."),
    ] = None,
    trust: Trust = False,
) -> None:
    """Train final models once more, also on what the study predicts of unlabelled examples. Handed out if better."""
    from lab.study.pseudo_labels import pseudo_label as train
    from lab.study.study import Study

    study = Study.open(folder, trust=trust)
    try:
        second = train(
            study,
            unlabelled,
            confidence=confidence,
            share=share,
            epochs=epochs,
            quiet=False,
            say=lambda line: say(line, file=sys.stderr),
        )
    except Interrupted as error:
        raise Interrupted(f"{error}; the same command goes on with it") from None
    for line in second.lines:
        say(line)
    if second.longer:
        say(second.longer)
    say(f"next      lab study report {shlex.quote(str(folder))}")
