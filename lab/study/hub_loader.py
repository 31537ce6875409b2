"""Loads the model of this folder with PyTorch and safetensors alone: `pip install torch safetensors`.

    python loader.py inputs.npy        # prints what it predicts for each input, as JSON

The program `model.pt2` says what is computed, preprocessing and mean included; `model.safetensors` holds the weights.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file

if TYPE_CHECKING:
    from torch import nn


def load(folder: Path | str = Path(__file__).parent) -> nn.Module:
    """The model, from inputs [n, ...] as `config.json` says under `input` to probabilities [n, c], or values."""
    model: nn.Module = torch.export.load(Path(folder) / "model.pt2").module()
    model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    return model


def predict(x: torch.Tensor, folder: Path | str = Path(__file__).parent) -> list[dict[str, Any]]:
    """What the model says of each input, by the names of its outputs."""
    names = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))["names"]
    with torch.no_grad():
        outputs = load(folder)(x)
    rows = outputs.reshape(len(outputs), -1).tolist()
    return [dict(zip(names, row, strict=True)) if len(names) == len(row) else {"values": row} for row in rows]


if __name__ == "__main__":
    import numpy as np

    said = predict(torch.from_numpy(np.load(sys.argv[1], allow_pickle=False)))
    sys.stdout.write(json.dumps(said, indent=1, ensure_ascii=False) + "\n")
