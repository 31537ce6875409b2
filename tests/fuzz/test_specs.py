"""Specs with anything in any place, from fixed seeds."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from lab.record.spec_file import dump_spec, parse_override, read_spec
from lab.stages import STAGES
from lab.study.check import check_components
from lab.study.undecided import with_undecided
from tests.fuzz.outcome import faults
from tests.small import SMALL

BLOCKS, EACH = 12, 60

JUNK: list[Any] = [
    None, True, False, 0, 1, -1, 3, 10**30, -(10**30), 0.0, -0.0, 0.5, 1e-320, 1e308, float("inf"), float("nan"),
    "", " ", "auto", "none", "loss", "on", "1e-3", "inf", "nan", "\0", "\u202e", "naïve", "x" * 5000, "a\nb", "../../x",
    "/dev/null", "file.py:Name", ":", "a:b:c", "hub:x", "lab.nowhere:Task", "json:dumps", "digits", "table", "images",
    "forest", "optuna:TPESampler", "optuna:os", "adamw", "cuda:99", "sqlite:///x.db", "postgresql://u:p@h/d", "{x}",
    [], [1], [[]], [None], ["a", "a"], [1, "a", 2.5], list(range(300)), {}, {"": 1}, {"kind": "forest"}, {"kind": None},
    {"low": 0, "high": 1}, {"low": 1, "high": 0}, {"low": 0, "high": 1, "log": True}, {"low": "a", "high": []},
    {"choice": []}, {"choice": [1, 1]}, {"choice": [None, {}]}, {"from": "bounds"}, {"from": "x"},
    {"a": {"b": {"c": 1}}},
]  # fmt: skip
"""Values of every type and size, and those that mean something elsewhere."""

NAMES = (
    *SMALL, *(stage.name for stage in STAGES), "optimizer", "batch_size", "schedule", "storage", "until", "provenance",
    "kind", "path", "target", "low", "high", "log", "choice", "from", "int", "when", "trials", "epochs", "sampler",
    "pruner", "prior", "objective", "seeds", "steps", "one", "several", "refit", "root", "given", "", "x", "__class__",
)  # fmt: skip

BASES: list[dict[str, Any]] = [
    SMALL,
    {
        **SMALL,
        "task": {
            "kind": "table",
            "path": "t.csv",
            "target": "y",
            "types": {"a": "number"},
            "split": {"kind": "random"},
        },
        "optimizer": {"kind": "sgd", "momentum": 0.9},
        "schedule": {"one": {"kind": "one_cycle", "pct_start": 0.3}, "several": {"kind": "snapshot"}},
        "until": {"hours": 1, "target_score": 0.5},
        "storage": "sqlite:///t.db",
    },
    {
        **SMALL,
        "task": {"kind": "images", "path": "photos", "size": 32, "model": "resnet", "split": {"kind": "stratified"}},
        "space": {
            "max_lr": {"low": 1e-3, "high": 1.0, "log": True},
            "optimizer": {"choice": ["sgd", "adamw"]},
            "momentum": {"low": 0.8, "high": 0.99, "when": {"optimizer": ["sgd"]}},
            "batch_size": {"choice": [16, 32]},
        },
        "search": {
            **SMALL["search"],
            "pruner": {"kind": "forest", "first": 1},
            "sampler": {"kind": "forest", "prior": {"max_lr": {"center": 0.1, "sure": 0.5}}},
        },
    },
]


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where anything stands in a value, by the keys that lead there."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for key, part in inner for deeper in _paths(part, (*path, key)))]


def _mutated(value: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """A copy with something else in a few places: another value, another key, one more or one less."""
    value = json.loads(json.dumps(value))
    for _ in range(draw.randint(1, 4)):
        *way, last = draw.choice([keys for keys in _paths(value) if keys])
        holder: Any = value
        for key in way:
            holder = holder[key]
        kind = draw.random()
        if kind < 0.6:
            holder[last] = deepcopy(draw.choice(JUNK))
        elif kind < 0.7:
            del holder[last]
        elif isinstance(holder, dict):
            holder[draw.choice(NAMES)] = holder.pop(last) if kind < 0.85 else deepcopy(draw.choice(JUNK))
        else:
            holder.append(deepcopy(draw.choice(JUNK)))
    return value


def _garbled(text: str, draw: random.Random) -> bytes:
    """Text with a few characters changed, in an encoding that it may not be read in."""
    letters = list(text)
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(letters))
        letters[at : at + draw.randint(0, 3)] = draw.choice(
            ["", "\t", "{", "}", "]", ":", "- ", "&a ", "*a", "!!x ", "%", "\0", "é", "\n", "'", "#"]
        )
    return "".join(letters).encode(draw.choice(["utf-8"] * 6 + ["utf-16", "latin-1"]), errors="replace")


def _use(path: Path, overrides: dict[str, Any]) -> None:
    spec = read_spec(path, overrides)
    check_components(spec)
    spec = with_undecided(spec, load=False)
    again = path.with_name("again.yaml")
    again.write_text(dump_spec(spec), encoding="utf-8")
    assert read_spec(again).what() == spec.what()


@pytest.mark.parametrize("block", range(BLOCKS))
def test_a_spec_is_taken_or_refused_in_one_line(block: int, tmp_path: Path):
    def cases() -> Any:
        for seed in range(block * EACH, (block + 1) * EACH):
            draw = random.Random(seed)
            value = _mutated(draw.choice(BASES), draw)
            text = json.dumps(value, indent=draw.choice([None, 1]))
            path = tmp_path / f"{seed}.yaml"
            path.write_bytes(_garbled(text, draw) if seed % 4 == 0 else text.encode())
            overrides = {}
            if seed % 5 == 0:
                key = ".".join(draw.choice(NAMES) for _ in range(draw.randint(1, 3)))
                overrides = dict([parse_override(f"{key}={json.dumps(deepcopy(draw.choice(JUNK)))}")]) if key else {}
            yield f"seed {seed} {overrides}", lambda path=path, overrides=overrides: _use(path, overrides)

    faulty = faults(cases())
    assert not faulty, "\n".join(faulty)
