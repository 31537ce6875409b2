"""What is kept of an error that a user's code raised."""

from __future__ import annotations

import traceback

from lab.errors import LabError

_MOST_CHARS = 16_384


def error_text(error: BaseException) -> str:
    """What a user needs of an error, and no more than a journal should hold."""
    text = str(error) if isinstance(error, LabError) else "".join(traceback.format_exception(error)).strip()
    if len(text) <= _MOST_CHARS:
        return text
    half = _MOST_CHARS // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
