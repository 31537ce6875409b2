"""The number of slots that fit into memory, by site: a kind of device on a node. All stages of a study share it."""

from __future__ import annotations

from pathlib import Path

from lab.errors import RecordError
from lab.record.folder import read_json, write_json


class Widths:
    """Widths that lanes have learned by running out of memory. A site that is not in it takes the job's width."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lanes" / "widths.json"
        self._widths: dict[str, int] = {}
        try:
            stored = read_json(self._path) if self._path.exists() else {}
            self._widths = {str(site): max(int(width), 1) for site, width in stored.items()}
        except (RecordError, ValueError, TypeError, AttributeError):
            return  # damaged: lanes will learn it again

    def get(self, site: str) -> int | None:
        return self._widths.get(site)

    def halve(self, site: str, width: int) -> None:
        """Halve the width of a site, since `width` slots do not fit there.

        Lanes that share a site report it one after the other, and halve it once.
        """
        self._widths[site] = min(self._widths.get(site, width), max(width // 2, 1))
        write_json(self._path, self._widths)
