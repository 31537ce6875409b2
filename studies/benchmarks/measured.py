"""What every benchmark says of where it was measured, and how it keeps what it found."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lab.errors import DISTRIBUTION
from lab.record.folder import write_bytes
from lab.report.figure_file import png_of


def machine() -> str:
    return f"{os.cpu_count()} cores, {platform.platform()}"


def versions(*packages: str) -> dict[str, str]:
    """Versions of packages; `lab` is distributed under another name."""
    return {package: version(DISTRIBUTION if package == "lab" else package) for package in packages}


def listed(packages: Mapping[str, str]) -> str:
    """Versions in a line."""
    return ", ".join(f"{name} {number}" for name, number in packages.items())


def median_and_span(values: list[float]) -> str:
    """Median, least and largest of ratios or seconds."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def keep(folder: Path | None, content: Mapping[str, Any], page: str) -> None:
    """Print the page; where a folder is given, write it there as README.md beside the figures in result.json."""
    print(page)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "result.json").write_text(json.dumps(content, indent=1) + "\n")
        (folder / "README.md").write_text(page)


def written_below(folder: Path | None, last: str) -> str:
    """What somebody wrote below the last line of a folder's README.md that begins with `last`; empty where nothing."""
    if folder is None or not (folder / "README.md").exists():
        return ""
    lines = (folder / "README.md").read_text().splitlines(keepends=True)
    ends = [number for number, line in enumerate(lines, 1) if line.startswith(last)]
    return "".join(lines[ends[-1] :]) if ends else ""


def write_figure(path: Path, figure: Any, **size: int) -> None:
    """Write a plotly figure as PNG, or, where there is no kaleido or no browser for it, as HTML.

    Args:
        size: `width` and `height` in pixels, where the figure's layout has none.
    """
    try:
        write_bytes(path, png_of(figure, **size))
    except RuntimeError as error:
        print(f"no {path.name}: {' '.join(str(error).split())[:120]}")
        write_bytes(path.with_suffix(".html"), figure.to_html(include_plotlyjs="cdn").encode())


def by_seed(
    about: str | None,
    workloads: Collection[str],
    seeds: int,
    measure: Callable[[str, Path, int], Any],
    page: Callable[[dict[str, list[Any]]], str],
) -> None:
    """Measure every workload and seed in turn, as the command line asks, and keep each as it comes.

    Args:
        measure: of a workload's name, the folder with the data, and a seed.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--only", choices=workloads, nargs="*", default=[*workloads])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    measured: dict[str, list[Any]] = {}
    for name in arguments.only:
        for seed in range(arguments.seeds):
            measured.setdefault(name, []).append(measure(name, arguments.data, seed))
            print(name, seed, measured[name][-1], flush=True)
            keep(arguments.out, measured, page(measured))
