"""Every state in which a process that is killed can leave a folder: one for each change of a file, each write torn.

A command runs once. Whenever it is about to change a file, the folder is copied as a kill at that moment would leave
it: what the process has written so far is there, and nothing that it would do afterwards, its cleaning up included.
States that differ in nothing but what stands in unfinished files are one.
"""

from __future__ import annotations

import builtins
import hashlib
import io
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.record.folder import UNFINISHED

_UNFINISHED = re.compile(rf"^(\..+\.)[a-z0-9_]{{8}}{re.escape(UNFINISHED)}$")


class States:
    """The states of a folder, in their order, copied as they come.

    Args:
        root: the folder.
        into: the folder that the copies are put into.
    """

    def __init__(self, root: Path, into: Path) -> None:
        self.folders: list[Path] = []
        self.operations = 0
        self._root, self._into = root, into
        self._seen: set[str] = set()

    def left_by(self, command: Callable[[], object]) -> None:
        """Run a command to its end, and keep the states that it goes through."""
        copying = [False]

        def changing(call: Callable[..., Any], before: Callable[..., object]) -> Callable[..., Any]:
            def done(*arguments: Any, **options: Any) -> Any:
                if not copying[0]:
                    copying[0] = True
                    try:
                        before(*arguments, **options)
                    finally:
                        copying[0] = False
                return call(*arguments, **options)

            return done

        def anyhow(*_: Any, **__: Any) -> None:
            self._keep()

        def created(_: Any, flags: int, *__: Any, **___: Any) -> None:
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self._keep()

        def opened(_: Any, mode: str = "r", *__: Any, **___: Any) -> None:
            if mode.strip("bt") != "r":
                self._keep()

        def written(handle: int) -> None:
            self._keep(torn=Path(f"/proc/self/fd/{handle}").readlink())
            self._keep()

        with pytest.MonkeyPatch.context() as patch:
            for name in ("rename", "replace", "unlink", "remove", "mkdir", "rmdir", "chmod", "truncate"):
                patch.setattr(os, name, changing(getattr(os, name), anyhow))
            patch.setattr(os, "fsync", changing(os.fsync, written))
            patch.setattr(os, "open", changing(os.open, created))
            for module in (builtins, io):
                patch.setattr(module, "open", changing(module.open, opened))
            command()

    def _keep(self, torn: Path | None = None) -> None:
        self.operations += 1
        if torn is None:
            if self._is_new(self._root):
                shutil.copytree(self._root, self._next())
        elif torn.is_relative_to(self._root) and not _UNFINISHED.match(torn.name):
            copy = Path(shutil.copytree(self._root, self._next()))
            self._tear(copy, torn.relative_to(self._root))
            if not self._is_new(copy):
                shutil.rmtree(self.folders.pop())

    def _next(self) -> Path:
        self.folders.append(self._into / f"{len(self.folders):04}")
        return self.folders[-1]

    def _is_new(self, folder: Path) -> bool:
        digest = _digest(folder)
        new = digest not in self._seen
        self._seen.add(digest)
        return new

    def _tear(self, copy: Path, name: Path) -> None:
        """Cut off half of what was appended to a file, or of the file."""
        before = self.folders[-2] / name if len(self.folders) > 1 else None
        had = before.stat().st_size if before is not None and before.exists() else 0
        has = (copy / name).stat().st_size
        os.truncate(copy / name, (had + has) // 2 if has > had else has // 2)


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        unfinished = _UNFINISHED.match(path.name)
        name = path.relative_to(folder).with_name(unfinished[1] if unfinished else path.name)
        digest.update(f"{name}\0".encode())
        if path.is_file() and not unfinished:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
