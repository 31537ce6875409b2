"""`lab predict`: a finished study's ensemble on new inputs."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.cli.answers import Predictions
from lab.cli.say import AsJson, say, say_answer
from lab.errors import SpecError, plain

if TYPE_CHECKING:
    import pandas as pd

Finished = Annotated[Path, typer.Argument(metavar="DIR", help="A finished study's folder.", show_default=False)]
TrustCode = Annotated[
    bool, typer.Option("--trust", help="Trust a study that another user has begun: its code. Once for all.")
]


def predict(
    folder: Finished,
    input: Annotated[  # noqa: A002
        Path,
        typer.Option(metavar="PATH", help="What the task reads: a table, images, an npz, a CSV of numbers."),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", help="A CSV file, or .npz with arrays; default: standard output.")
    ] = None,
    top: Annotated[
        int | None, typer.Option("--top", min=1, help="Where items are ranked: as many for each user; default: 10.")
    ] = None,
    as_json: AsJson = False,
    trust: TrustCode = False,
) -> None:
    """Predict with a finished study's ensemble; one CSV row per input. Scores it where the input holds the target."""
    from lab.record.folder import write_bytes
    from lab.stages.prediction_table import TOP, prediction_table, readable
    from lab.study.study import Study
    from lab.tasks.beside import Beside

    ensemble = Study.open(folder, trust=trust).result.ensemble
    inputs = ensemble.read(input)
    for note in inputs.notes:
        say(f"{input}: {note}", file=sys.stderr)
    if top is not None and not inputs.ranked_within:
        raise SpecError(
            "--top", f"nothing is ranked in {input}: a study of ratings does, where there is no item column"
        )
    prediction: Any = ensemble.predict(inputs.x)
    values, columns = readable(prediction, ensemble, inputs)
    answer = Predictions(
        ensemble.kind_or_several,
        len(prediction),
        None,
        targets=ensemble.kinds or None,
        output=None if output is None else str(output),
    )
    if output is not None and output.suffix == ".npz":
        arrays = values if values.dtype != object else ensemble.task.outward(prediction).numpy()  # words lie in a table
        write_bytes(output, as_arrays(arrays, ensemble.kind, inputs.names))
    elif as_json and output is None and prediction.ndim > 2:
        answer = replace(answer, predictions=prediction.tolist())  # of parts of each input: a row is no good form
    else:
        ranked = prediction_table(values, columns, ensemble, inputs, top or TOP)
        table, formulas = (ranked, 0) if as_json and output is None else harmless(ranked)
        if as_json and output is None:
            split = table.to_dict("split", index=False)  # as `pd.DataFrame(**it)` takes it
            answer = replace(answer, predictions=split)
        elif output is None:
            text = table.to_csv(index=False)
            print(plain(text) if sys.stdout.isatty() else text, end="")
        else:
            write_bytes(output, table.to_csv(index=False).encode())
        if formulas:
            say(
                f"{input}: {formulas} texts begin as a spreadsheet's formula does; an apostrophe stands before each",
                file=sys.stderr,
            )
    lost = int((~prediction.reshape(len(prediction), -1).isfinite().all(dim=1)).sum())
    if lost:
        say(
            f"{input}: warning: {lost} of {len(prediction)} rows have predictions that are no finite numbers; nothing "
            "is chosen for them and nothing scored",
            file=sys.stderr,
        )
    elif inputs.y is not None:
        beside = Beside()
        scores = ensemble.scores(prediction, inputs.y, beside)
        for line in beside.lacks:
            say(f"{input}: {line}", file=sys.stderr)
        answer = replace(answer, scores=scores)
        scored = ", ".join(f"{name} {value:.6g}" for name, value in scores.items())
        say(f"{input}: {scored} on {len(inputs.y)} examples", file=sys.stderr)
    if as_json:
        say_answer(answer)


def as_arrays(prediction: Any, kind: str, names: tuple[str, ...] = ()) -> bytes:
    """Predictions [n, ...] as the content of an npz, in their shape; with names [n] where there are any."""
    import io

    import numpy as np

    arrays: dict[str, Any] = {"values" if kind == "regression" else "probabilities": prediction}
    if names:
        arrays["names"] = np.array(names)
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def harmless(table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """A table whose texts no spreadsheet takes for formulas, and how many texts would have been.

    An apostrophe is put before them, as OWASP advises against "CSV injection"; numbers stay as they are.
    """
    import pandas as pd

    safe = table.rename(columns=_quoted)
    count = int((safe.columns != table.columns).sum())
    for name in safe.columns:
        if pd.api.types.is_string_dtype(safe[name]):
            quoted = safe[name].map(_quoted, na_action="ignore")
            count += int((quoted != safe[name])[safe[name].notna()].sum())
            safe[name] = quoted
    return safe, count


def _quoted(text: str) -> str:
    if not text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text
