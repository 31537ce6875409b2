"""The transfer of a user's task file to other machines, as a module that any node can import by its name."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import replace
from pathlib import Path

from lab.errors import SpecError
from lab.spec.plan import TaskRef

_LIMIT_BYTES = 16 * 2**20
_PREFIX = "lab_task_files_"


def task_file(task: TaskRef) -> Path | None:
    """The file that a task comes from; None for a built-in one, and for one of a package, which every node has."""
    path, _, name = task.kind.rpartition(":")
    return (Path(task.root) / path).resolve() if path.endswith(".py") and name else None


def sources(task: TaskRef) -> dict[str, bytes]:
    """The task's file and its neighbours, which it may import, by name.

    Raises:
        SpecError: they are too large to be code.
    """
    path = task_file(task)
    if path is None:
        return {}
    files = (file for file in sorted(path.parent.glob("*.py")) if file.is_file())
    contents = {file.name: file.read_bytes() for file in files}
    if not contents.get(
        "__init__.py", b"x"
    ):  # `pack` makes one: the same files have the same name again where they arrive
        del contents["__init__.py"]
    if sum(map(len, contents.values())) > _LIMIT_BYTES:
        limit = _LIMIT_BYTES >> 20
        raise SpecError(
            "task", f"the Python files in {path.parent} are above {limit} MiB; give the task its own folder"
        )
    return contents


def module_name(files: dict[str, bytes]) -> str:
    """The name under which a task's files travel: the same for the same content."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\\0{len(content)}\\0".encode() + content)
    return _PREFIX + digest.hexdigest()[:16]


def pack(task: TaskRef, folder: Path) -> Path | None:
    """Write a task's files as a module below `folder`; its path, or None for a built-in task."""
    files = sources(task)
    if not files:
        return None
    module = folder / module_name(files)
    module.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (module / name).write_bytes(content)
    (module / "__init__.py").touch()  # what makes it a module; its own, if it has one, stays
    return module


def arrived(task: TaskRef, module: str | None) -> TaskRef:
    """The task as this machine has it: from the module that was shipped here, or as it is named."""
    path = task_file(task)
    if module is None or path is None or task.instance is not None:
        return task
    module_spec = importlib.util.find_spec(module)
    if module_spec is None or not module_spec.submodule_search_locations:
        return task
    root = next(iter(module_spec.submodule_search_locations))
    return replace(task, kind=f"{path.name}:{task.kind.rpartition(':')[2]}", root=root)


def lab_folder() -> Path:
    """The folder of this package, which is shipped too, so that every node runs the driver's version."""
    return Path(__file__).resolve().parents[2]
