"""An accelerator's face, as far as a machine without one can tell."""

from __future__ import annotations

import pytest
import torch

from lab.training.accelerator import (
    accelerator,
    count,
    free_bytes,
    name_of,
    own_random_state,
    random_state,
    release_memory,
    set_random_state,
    widest_float,
)

CPU = torch.device("cpu")


class Apple:
    """Stands for `torch.mps`: a generator whose state is a number."""

    state = torch.tensor([7, 0, 0, 0], dtype=torch.uint8)

    def get_rng_state(self, device: torch.device) -> torch.Tensor:
        return self.state

    def set_rng_state(self, state: torch.Tensor, device: torch.device) -> None:
        self.state = state


def test_where_there_is_none_all_is_the_processors(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    assert accelerator() is None
    assert count() == 0
    assert name_of(CPU) == "cpu"
    assert widest_float(CPU) == torch.float64
    assert widest_float(torch.device("mps")) == torch.float32
    release_memory()


def test_a_random_state_is_the_hosts_and_behind_it_the_accelerators(monkeypatch: pytest.MonkeyPatch):
    apple = Apple()
    monkeypatch.setattr(torch, "get_device_module", lambda device: apple)
    device = torch.device("mps")
    with own_random_state(CPU):
        torch.manual_seed(3)
        saved = random_state(device)
        drawn = torch.rand(2)
        apple.state = torch.tensor([8, 0, 0, 0], dtype=torch.uint8)
        set_random_state(device, saved)
        assert torch.equal(torch.rand(2), drawn)
        assert apple.state.tolist() == [7, 0, 0, 0]
        set_random_state(CPU, saved)  # a study goes on where there is no GPU
        assert torch.equal(torch.rand(2), drawn)


def test_what_is_drawn_inside_leaves_the_process_as_it_was():
    before = torch.get_rng_state()
    with own_random_state(CPU):
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)


def test_free_memory_is_what_the_kind_says(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 100)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 30)
    assert free_bytes(torch.device("mps")) == 70
    monkeypatch.setattr(torch.xpu, "mem_get_info", lambda device: (5, 9))
    assert free_bytes(torch.device("xpu")) == 5
