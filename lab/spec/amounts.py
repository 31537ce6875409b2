"""Whole numbers that a spec takes, by how many are too many."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Positive = Annotated[int, Field(ge=1)]
Few = Annotated[int, Field(ge=1, le=1000)]
"""Seeds, candidates, snapshots: whoever writes more has slipped, and would wait for the list of them alone."""
Many = Annotated[int, Field(ge=1, le=1_000_000)]
"""Trials, epochs, rows of a batch."""
