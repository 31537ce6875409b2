"""The health of layers, of a net that is well and of nets that are made ill."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

import lab
from lab.errors import SpecError
from lab.spec.trial import Outcome
from lab.study.study import Study
from lab.tasks.task import Data, Split, Task
from tests.small import lab as run_lab


class Ill(Task):
    """A net whose first ReLU is dead and whose last layer gives large numbers; all in between vanishes."""

    def model(self, params: Mapping[str, Any]) -> nn.Module:
        net = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))
        with torch.no_grad():
            net[0].bias.fill_(-1e2)
            net[2].bias.zero_()
            net[4].bias.copy_(torch.tensor([1e4, 1e4 + 1]))
        return net

    def data(self, split: Split) -> Data:
        x = torch.randn(80, 2, generator=torch.Generator().manual_seed(len(split)))
        return x, (x.sum(dim=1) > 0).long()


def test_what_is_ill_is_named():
    health = lab.activation_health(Ill(), 1e-6, epochs=2, batch_size=16)
    assert health.layers["layer"].tolist() == ["0", "1", "2", "3", "4"]
    assert health.layers["health"].tolist() == ["", "dead", "vanishes", "vanishes", "explodes"]
    assert health.line.startswith("dead: 1 (more than 90% of what it gives is next to nothing); explodes: 4 (")
    assert health.line.endswith("; vanishes: 2, 3 (all that it gives differs by less than 0.0001)")
    assert health.history.groupby("layer")["step"].apply(list)["1"] == list(range(10))
    assert health.layers["near_zero"][1] == 1.0


def test_a_training_that_diverges_is_looked_at_as_far_as_it_came():
    schedule = lab.schedules.Constant(max_lr=1e30)
    health = lab.activation_health("digits", epochs=3, schedule=schedule, optimizer="sgd")
    assert health.outcome is Outcome.DIVERGED
    assert "explodes: " in health.line
    assert "; the training diverged: " in health.line
    assert len(health.plot().data) == 3 * len(health.layers)


def test_what_cannot_be_looked_at_is_refused():
    with pytest.raises(SpecError, match=r"execution\.path: 'stacked' computes models together"):
        lab.activation_health("digits", 0.01, epochs=1, execution={"path": "stacked"})
    with pytest.raises(SpecError, match="epochs"):
        lab.activation_health("digits", 0.01, epochs=0)


def test_a_study_looks_at_its_confirmed_setup(small_study: Study, tmp_path: Path):
    table, plot = tmp_path / "layers.csv", tmp_path / "layers.html"
    folder = small_study.record.folder
    said = run_lab("study", "activations", folder, "--epochs", "1", "--output", table, "--plot", plot)
    assert said.returncode == 0, said.stderr
    assert "none of 7 layers is dead, explodes or vanishes" in said.stdout
    frame = pd.read_csv(table)
    assert set(frame) == {"step", "layer", "mean", "std", "near_zero"}
    assert plot.read_text().startswith("<!doctype html>")
    health = small_study.result.activation_health(epochs=1)
    assert health.history["std"].tolist() == pytest.approx(frame["std"].tolist(), rel=1e-3)  # other threads
    assert "near_zero_end" in health._repr_html_()
    with pytest.raises(SpecError, match="epochs: 0 is not a whole number of at least 1"):
        small_study.result.activation_health(epochs=0)
    refused = run_lab("study", "activations", folder, "--plot", tmp_path / "x.txt")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
