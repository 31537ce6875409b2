"""Small files of one's own data, as users have them: tables and images in every form that is read."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def table(rows: int = 60, seed: int = 0) -> pd.DataFrame:
    """A number, a category, a date and two classes that follow from the number and the category."""
    random = np.random.default_rng(seed)
    number, letter = random.normal(size=rows), random.choice(list("xyz"), rows)
    days = pd.date_range("2024-01-01", periods=rows, freq="17h").strftime("%Y-%m-%d %H:%M:%S")
    sure = np.where(number + (letter == "x") > 0, "yes", "no")
    answer = np.where(random.random(rows) < 0.1, "yes", sure)
    return pd.DataFrame({"number": number, "letter": letter, "day": days, "answer": answer})


def write_table(path: Path, frame: pd.DataFrame) -> Path:
    """By the suffix: .csv, .tsv or .parquet."""
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def pixels(n: int = 1, shape: tuple[int, ...] = (8, 8, 3), seed: int = 0) -> np.ndarray:
    """Random pixels uint8 [n, *shape], dark in the even ones and bright in the odd ones."""
    random = np.random.default_rng(seed)
    base = random.integers(0, 120, (n, *shape), dtype=np.uint8)
    base[1::2] += 120
    return base


def encoded(array: np.ndarray, format: str = "PNG") -> bytes:  # noqa: A002 - Pillow's word
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, format)
    return stream.getvalue()


def write_folders(root: Path, each: int = 8, classes: tuple[str, ...] = ("dark", "bright"), seed: int = 0) -> Path:
    """A folder per class with images of it, as 8x8 PNG files."""
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i, array in enumerate(pixels(2 * each, seed=seed)[number % 2 :: 2]):
            Image.fromarray(array).save(root / name / f"{i:02}.png")
    return root


def write_hub(path: Path, columns: dict[str, Any], names: tuple[str, ...] = ()) -> Path:
    """A parquet of the Hub's schema; with `names`, the metadata that its writer adds."""
    written = pa.table(columns)
    if names:
        label = {"names": list(names), "_type": "ClassLabel"}
        info = {"info": {"features": {"image": {"_type": "Image"}, "label": label}}}
        written = written.replace_schema_metadata({"huggingface": json.dumps(info)})
    pq.write_table(written, path)
    return path


def hub_images(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """Cells of an image column: the content of a file and its name."""
    return [{"bytes": encoded(array), "path": f"{i}.png"} for i, array in enumerate(pixels(n, seed=seed))]


def rated_pairs(users: int = 12, items: int = 10) -> pd.DataFrame:
    """Most pairs of users and items, with ratings from 1 to 5 that follow from both."""
    pairs = [(u, i) for u in range(users) for i in range(items) if (u * 7 + i * 3) % 4]
    rows = [{"user": f"u{u}", "item": f"{i:02}", "rating": 1 + (u + 2 * i) % 5, "time": 100 - u - i} for u, i in pairs]
    return pd.DataFrame(rows)


def write_ratings(path: Path, rows: pd.DataFrame | None = None) -> Path:
    (rated_pairs(16, 12) if rows is None else rows).to_csv(path, index=False)
    return path


_FILLING = (
    *("the", "film", "was", "its", "story", "and", "actors", "music", "plot"),
    *("scene", "camera", "over", "under", "never", "always", "very", "so", "this"),
)


def reviews(n: int = 90, seed: int = 0) -> pd.DataFrame:
    """Short texts that are good or bad by one of their words, of a few lengths."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        label = "good" if number % 2 else "bad"
        said = random.choice(["lovely", "great", "warm"] if number % 2 else ["dull", "awful", "cold"])
        padding = random.choice(_FILLING, size=random.integers(4, 9))
        rows.append({"text": f"It is {said} , number {number} {' '.join(padding)}", "label": label})
    return pd.DataFrame(rows)


def write_texts(path: Path, rows: pd.DataFrame | None = None) -> Path:
    return write_table(path, reviews() if rows is None else rows)
