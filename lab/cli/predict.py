"""`lab predict`: a finished study's ensemble on new inputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lab.errors import TaskError

if TYPE_CHECKING:
    import pandas as pd


def predict(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A finished study's folder.", show_default=False)],
    input: Annotated[  # noqa: A002
        Path, typer.Option("--input", metavar="FILE.npz|csv", help="Inputs: array 'x', or one row per example.")
    ],
    output: Annotated[Path | None, typer.Option("--output", help="A CSV file; default: standard output.")] = None,
) -> None:
    """Predict with a finished study's ensemble; one CSV row per input."""
    from lab.record import write_bytes
    from lab.study import Study

    ensemble = Study.open(folder).result.ensemble
    prediction = ensemble.predict(ensemble.prepare(read_inputs(input)))
    table = as_table(prediction.numpy(), ensemble.kind, ensemble.class_names).to_csv(index=False)
    if output is None:
        print(table, end="")
    else:
        write_bytes(output, table.encode())


def read_inputs(path: Path) -> Any:
    """An array of inputs [n, ...] from an npz (array `x`, or its only array) or a CSV of numbers with a header.

    Raises:
        TaskError: missing, of another kind, empty, not numeric, or with missing values.
    """
    import numpy as np

    if not path.is_file():
        raise TaskError(f"{path}: is not a file")
    if path.suffix not in (".npz", ".csv"):
        raise TaskError(f"{path}: is neither .npz nor .csv")
    array = _read_npz(path) if path.suffix == ".npz" else _read_csv(path)
    if array.ndim < 2 or len(array) == 0:
        raise TaskError(f"{path}: inputs of shape {array.shape} are not [n, ...] with n of at least 1")
    if not np.issubdtype(array.dtype, np.floating) and not np.issubdtype(array.dtype, np.integer):
        raise TaskError(f"{path}: inputs of type {array.dtype} are not real numbers")
    bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
    if bad.any():
        raise TaskError(f"{path}: {int(bad.sum())} of {len(array)} rows have missing or infinite values")
    return array


def _read_npz(path: Path) -> Any:
    import zipfile

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = arrays.files
            if "x" not in names and len(names) != 1:
                raise TaskError(f"{path}: has arrays {names}; one named 'x' is needed")
            return arrays["x" if "x" in names else names[0]]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise TaskError(f"{path}: cannot be read ({error})") from error


def _read_csv(path: Path) -> Any:
    import pandas as pd

    try:
        frame = pd.read_csv(path)
    except (ValueError, OSError) as error:
        raise TaskError(f"{path}: cannot be read ({error})") from error
    names = [str(name) for name in frame.columns]
    counted = names == [str(i) for i in range(len(names))]  # how pandas names columns that have no name
    if not counted and all(_is_number(name) for name in names):
        raise TaskError(f"{path}: its first row is numbers; a row of column names is needed")
    if frame.empty:
        raise TaskError(f"{path}: has column names and no rows")
    text = [name for name, dtype in zip(names, frame.dtypes, strict=True) if not pd.api.types.is_numeric_dtype(dtype)]
    if text:
        raise TaskError(f"{path}: column {text[0]!r} is not numeric")
    return frame.to_numpy()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def as_table(prediction: Any, kind: str, class_names: tuple[str, ...]) -> pd.DataFrame:
    """Predictions [n, c] or [n, ...] as a table: the class and every probability, or the values."""
    import pandas as pd

    if kind != "classification":
        flat = prediction.reshape(len(prediction), -1)
        return pd.DataFrame(flat, columns=[f"value{i}" for i in range(flat.shape[1])])
    names = class_names or tuple(str(i) for i in range(prediction.shape[1]))
    table = pd.DataFrame(prediction, columns=[f"p_{name}" for name in names])
    table.insert(0, "class", [names[i] for i in prediction.argmax(axis=1)])
    return table
