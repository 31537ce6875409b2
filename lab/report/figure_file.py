"""A plotly figure as a file: HTML that opens without a network, or PNG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import SpecError, first_line, install_extra
from lab.record.folder import write_bytes

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def check_ending(path: Path) -> None:
    """Refuse, before any work, a file that could not be written (`SpecError`)."""
    if path.suffix not in (".html", ".png"):
        raise SpecError(str(path), "ends neither in .html nor in .png")


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure to `path`, by its ending.

    Raises:
        SpecError: another ending, or PNG without kaleido and a Chrome or Chromium.
    """
    check_ending(path)
    if path.suffix == ".html":
        write_bytes(path, figure.to_html(include_plotlyjs=True).encode())
        return
    try:
        image = figure.to_image("png", width=900, height=480, scale=2)
    except (ImportError, ValueError, RuntimeError) as error:  # plotly and kaleido raise all three
        needs = f"PNG needs kaleido and Chromium ({install_extra('png')})"
        raise SpecError(str(path), f"{needs}: {first_line(error)}") from error
    write_bytes(path, image)
