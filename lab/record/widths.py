"""How many slots fit into memory, by place: a kind of device on a node. Kept in the study folder, for all stages."""

from __future__ import annotations

from pathlib import Path

from lab.errors import RecordError
from lab.record.folder import read_json, write_json


class Widths:
    """What lanes have found out by running out of memory; a place that is not in it takes the job's width."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lanes" / "widths.json"
        self._known: dict[str, int] = {}
        try:
            found = read_json(self._path) if self._path.exists() else {}
            self._known = {str(place): max(int(width), 1) for place, width in found.items()}
        except (RecordError, ValueError, TypeError, AttributeError):
            return  # damaged: it will be found out again

    def get(self, place: str) -> int | None:
        return self._known.get(place)

    def halve(self, place: str, width: int) -> None:
        """So many slots do not fit there; lanes that share a place find out one after the other, and halve it once."""
        self._known[place] = min(self._known.get(place, width), max(width // 2, 1))
        write_json(self._path, self._known)
