"""A study folder as plain values, and what sets two of them apart beyond the arithmetic of a processor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from ruamel.yaml import YAML
from safetensors.numpy import load_file

_OF_THE_RUN = ("worker_id", "datetime_start", "datetime_complete")
"""What a journal says of when and by whom it was written."""
_SHOWN = 4
"""Values of each tensor that are kept beside its mean and spread."""
_RELATIVE, _ABSOLUTE = 1e-3, 1e-6
"""How far numbers may differ on another processor. With PyTorch's plain kernels, MKL's of 128 bits, NumPy without AVX2,
or all of these at once, none of the two studies' numbers differed by more than 1e-6 and 1e-5 of its size: a hundredth
of what is allowed, since a unit that is switched on by a last digit adds more than that digit."""
STRUCTURE_ONLY = {
    "artefacts.ensemble.baselines.*.fit_s": "seconds",
    "artefacts.ensemble.examples.*.said": "a percentage or a value rounded for people: it may round the other way",
    "artefacts.ensemble.examples.*.true": "as `said`",
    "artefacts.*.example.said": "as above",
    "artefacts.*.example.true": "as above",
    "artefacts.*.shown.image": "a PNG, which another version of its library packs in another way",
    "artefacts.task.data": "a digest of standardised inputs, which changes with the last digit of one of them",
}
"""Entries of which only the type is compared, and why."""


def portrait(folder: Path) -> dict[str, Any]:
    """What a study folder holds: without times, versions, the machine, and where it lies."""
    around = str(folder.resolve().parent)

    def text(path: Path) -> str:
        return path.read_text().replace(around, ".")

    spec = YAML(typ="safe", pure=True).load(text(folder / "study.yaml"))
    del spec["provenance"]
    entries = [json.loads(line) for line in text(folder / "ledger.journal").splitlines()]
    return {
        "spec": spec,
        "artefacts": {path.stem: json.loads(text(path)) for path in sorted(folder.glob("[!.]*.json"))},
        "journal": [{key: value for key, value in entry.items() if key not in _OF_THE_RUN} for entry in entries],
        "columns": pq.read_schema(folder / "trials.parquet").names,
        "weights": {path.name: _weights(path) for path in sorted((folder / "final").iterdir())},
        "files": sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")),
    }


def _weights(path: Path) -> dict[str, Any]:
    return {
        name: {
            "shape": list(tensor.shape),
            "dtype": str(tensor.dtype),
            "mean": float(tensor.mean()),
            "std": float(tensor.std()),
            "first": tensor.reshape(-1)[:_SHOWN].tolist(),
        }
        for name, tensor in load_file(path).items()
    }


def differences(now: Any, recorded: Any, path: str = "") -> Iterator[str]:
    """A line for each entry that one portrait lacks, or that differs by more than the tolerance."""
    if isinstance(now, dict) and isinstance(recorded, dict):
        for key in sorted(now.keys() ^ recorded.keys()):
            yield f"{path}.{key}: is {'new' if key in now else 'gone'}".lstrip(".")
        for key in recorded.keys() & now.keys():
            yield from differences(now[key], recorded[key], f"{path}.{key}".lstrip("."))
    elif isinstance(now, list) and isinstance(recorded, list):
        if len(now) != len(recorded):
            yield f"{path}: has {len(now)} entries; recorded were {len(recorded)}"
        for index, pair in enumerate(zip(now, recorded, strict=False)):
            yield from differences(*pair, f"{path}.{index}")
    elif not _alike(now, recorded, any(fnmatch(path, pattern) for pattern in STRUCTURE_ONLY)):
        yield f"{path}: is {now!r}; recorded was {recorded!r}"


def _alike(now: Any, recorded: Any, structure_only: bool) -> bool:
    if isinstance(now, float) and isinstance(recorded, (int, float)) and not isinstance(recorded, bool):
        return structure_only or abs(now - recorded) <= _ABSOLUTE + _RELATIVE * abs(recorded)
    return type(now) is type(recorded) and (structure_only or now == recorded)
