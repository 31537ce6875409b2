"""A plotly figure as a file: HTML that opens without a network, or PNG."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lab.errors import SpecError, first_line, install_extra
from lab.record.folder import write_bytes

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

LIMIT_S = 90.0
"""A browser draws a figure in a few seconds, and now and then waits for ever."""
_DRAW = """
import json, sys
import plotly.io
asked = json.load(sys.stdin)
figure = plotly.io.from_json(json.dumps(asked["figure"]), skip_invalid=True)
sys.stdout.buffer.write(figure.to_image("png", scale=2, **asked["size"]))
"""


def check_ending(path: Path) -> None:
    """Refuse, before any work, a file that could not be written (`SpecError`)."""
    if path.suffix not in (".html", ".png"):
        raise SpecError(str(path), "ends neither in .html nor in .png")
    if path.is_dir():
        raise SpecError(str(path), "is a folder")


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
        image = png_of(figure, width=900, height=480)
    except RuntimeError as error:
        needs = f"PNG needs kaleido and Chromium ({install_extra('png')})"
        raise SpecError(str(path), f"{needs}: {first_line(error)}") from error
    write_bytes(path, image)


def png_of(figure: Figure, limit_s: float = LIMIT_S, **size: int) -> bytes:
    """A figure as PNG, two dots per pixel, by kaleido's browser.

    It is drawn by a process of its own: kaleido waits for its browser without end, in a thread that outlives whoever
    gives up waiting.

    Args:
        size: `width` and `height` in pixels, where the figure's layout has none.

    Raises:
        RuntimeError: there is no kaleido or no browser, or none that answers within the limit.
    """
    import json

    asked = json.dumps({"figure": json.loads(figure.to_json()), "size": size})
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", _DRAW], start_new_session=True, **pipes) as drawing:  # type: ignore[call-overload]
        try:
            image, said = drawing.communicate(asked.encode(), limit_s)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"the browser did not answer within {limit_s:g} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # all of it has ended
                os.killpg(drawing.pid, signal.SIGKILL)
    if drawing.returncode:
        lines = said.decode(errors="replace").strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"kaleido ended with {drawing.returncode}")
    return bytes(image)
