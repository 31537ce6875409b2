"""Whose a study folder is. One that this user has not begun is looked at, and no more: its code is not run, its
database not asked, nothing written to it but what a command was asked to write, and no link followed out of it.

A user has a key, in a file of their own. A study's folder keeps a signature, by that key, of what could do harm: the
code and the database that its spec names. Who changes these, or has another key, cannot make one.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from lab.errors import TRUST, RecordError
from lab.record.folder import Record, read_json, write_json
from lab.record.spec_file import read_spec
from lab.record.user_folder import state_folder
from lab.spec.plan import TaskRef
from lab.spec.study import StudySpec
from lab.tasks.builtin import BUILTIN

_SIGNED = "signed"
_KEY_BYTES = 32
_MOST = 16
"""Signatures that a folder keeps: a spec that was put right before anything was trained leaves more than one."""


def is_own(record: Record, spec: StudySpec) -> bool:
    """Whether this user has begun the study of a folder, or has said that they trust it."""
    key = _key()
    return key is not None and any(hmac.compare_digest(_signature(key, record, spec), one) for one in _signed(record))


def open_spec(record: Record) -> StudySpec:
    """The spec of a folder, to be looked at alone where the folder is not this user's.

    Raises:
        SpecError: it is damaged.
        RecordError: the folder is not this user's, and leads out of itself.
    """
    spec = read_spec(record.spec_path)
    if is_own(record, spec):
        return spec
    check_links(record)
    return spec.model_copy(update={"task": replace(spec.task, foreign=True)})


def sign(record: Record, spec: StudySpec) -> None:
    """Note that this user trusts a folder with a spec. Nothing is noted where there is no home or it is full."""
    key = _key() or _new_key()
    if key is None:
        return
    signed, signature = _signed(record), _signature(key, record, spec)
    if signature not in signed:
        write_json(record.folder / Record.TRUST, {_SIGNED: [*signed, signature][-_MOST:]})


def check_files(record: Record) -> None:
    """Refuse to write to a folder whose files are links out of it, whoever has begun it: somebody else may have had it.

    Raises:
        RecordError: with the link.
    """
    for path in _entries((record.folder, *record.weight_folders, record.lanes_folder)):
        if path.is_symlink() and not path.is_dir():
            raise RecordError(f"{path}: is a link, and would be written through; put a file in its place")


def check_links(record: Record) -> None:
    """Refuse a folder that leads out of itself.

    Raises:
        RecordError: with the link.
    """
    home = record.folder.resolve()
    folders = (record.folder, *record.weight_folders, record.lanes_folder, record.data_folder)
    for path in _entries(folders):
        try:
            leads_out = path.is_symlink() and not path.resolve().is_relative_to(home)
        except (OSError, RuntimeError):  # a link to itself
            leads_out = True
        if leads_out:
            raise RecordError(f"{path}: is a link out of the study's folder, which was not begun here by you; {TRUST}")


def refusal(record: Record) -> RecordError:
    """What is said where a folder that is not this user's is to be changed."""
    return RecordError(f"{record.folder}: you have not begun this study here, so it is only looked at; {TRUST}")


def _entries(folders: Iterable[Path]) -> Iterable[Path]:
    for folder in folders:
        with contextlib.suppress(OSError):
            yield from folder.iterdir()


def _signature(key: bytes, record: Record, spec: StudySpec) -> str:
    task = spec.task
    code = [task.kind, str(task.options.get("metric")) if task.kind in BUILTIN else _file(record, task)]
    said = json.dumps([*code, spec.storage]).encode()
    return hmac.new(key, said, hashlib.sha256).hexdigest()


def _file(record: Record, task: TaskRef) -> str:
    """Where a task's code lies; a module of a package lies wherever that is installed."""
    name = task.kind.rpartition(":")[0]
    return str((record.folder.resolve() / task.root / name).resolve()) if name.endswith(".py") else ""


def _signed(record: Record) -> list[str]:
    try:
        signed = read_json(record.folder / Record.TRUST).get(_SIGNED)
    except RecordError:
        return []
    return [one for one in signed if isinstance(one, str) and one.isascii()] if isinstance(signed, list) else []


def _key_path() -> Path:
    return state_folder() / "key"


def _key() -> bytes | None:
    try:
        key = _key_path().read_bytes()
    except (OSError, RuntimeError):  # there is none yet, or no home
        return None
    return key if len(key) == _KEY_BYTES else None


def _new_key() -> bytes | None:
    """A new key, or that of another process which is just as new."""
    try:
        path = _key_path()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=path.parent) as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(file.name, path)
    except (OSError, RuntimeError):
        return None
    return _key()
