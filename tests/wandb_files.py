"""What W&B would send, from the files in which it keeps that."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2 as pb


@dataclass
class KeptRun:
    """A run, as its file has it."""

    id: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    project: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    axes: dict[str, str] = field(default_factory=dict)
    """The x axis of each metric, by name or pattern."""
    artifacts: dict[str, list[str]] = field(default_factory=dict)
    """Files by name of the artifact."""
    exit_code: int | None = None


def kept_runs(folder: Path) -> list[KeptRun]:
    """The runs below a study's folder; one that was gone on with stands there more than once.

    W&B's own process may write for a moment after a run has ended.
    """
    until = time.monotonic() + _WRITTEN_WITHIN_S
    while True:
        runs = [_run(path) for path in sorted((folder / "wandb").glob("*run-*/*.wandb"))]
        if time.monotonic() > until or all(run.exit_code is not None for run in runs):
            return runs
        time.sleep(0.1)


_WRITTEN_WITHIN_S = 10.0
_BLOCK = 2**15
_HEADER = struct.Struct("<IHB")
_FILE_HEADER = 7
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def _records(content: bytes) -> Iterator[bytes]:
    """The records of a log as LevelDB has them: in blocks, over which a long one is divided."""
    at, parts = _FILE_HEADER, b""
    while at + _HEADER.size <= len(content):
        if _BLOCK - at % _BLOCK < _HEADER.size:  # nothing begins in so small a rest
            at += _BLOCK - at % _BLOCK
            continue
        _, length, kind = _HEADER.unpack_from(content, at)
        part = content[at + _HEADER.size : at + _HEADER.size + length]
        at += _HEADER.size + length
        parts = part if kind in (_FULL, _FIRST) else parts + part
        if kind in (_FULL, _LAST):
            yield parts


def _run(path: Path) -> KeptRun:
    run = KeptRun()
    for content in _records(path.read_bytes()):
        record = pb.Record()
        record.ParseFromString(content)
        match record.WhichOneof("record_type"):
            case "run":
                sent = record.run
                run.id, run.name, run.group = sent.run_id, sent.display_name, sent.run_group
                run.job_type, run.project, run.tags = sent.job_type, sent.project, list(sent.tags)
                run.config |= {item.key: json.loads(item.value_json) for item in sent.config.update}
            case "history":
                run.history.append(_items(record.history.item))
            case "summary":
                run.summary |= _items(record.summary.update)
            case "metric":
                if record.metric.step_metric:
                    run.axes[record.metric.name or record.metric.glob_name] = record.metric.step_metric
            case "request":
                if record.request.HasField("log_artifact"):
                    _take_artifact(run, record.request.log_artifact.artifact)
            case "artifact":
                _take_artifact(run, record.artifact)
            case "exit":
                run.exit_code = record.exit.exit_code
    return run


def _take_artifact(run: KeptRun, artifact: Any) -> None:
    run.artifacts[artifact.name] = sorted(entry.path for entry in artifact.manifest.contents)


def _items(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
