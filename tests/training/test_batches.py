"""Batches are the same wherever the examples lie."""

from __future__ import annotations

import threading

import pytest
import torch

from lab.training.batches import Examples, fits

CPU = torch.device("cpu")
X = torch.arange(60, dtype=torch.float32).view(20, 3)
Y = torch.arange(20)
ORDER = torch.stack([torch.randperm(20, generator=torch.Generator().manual_seed(seed))[:18] for seed in (0, 1)])


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("size", [1, 6, 18])
def test_batches_follow_each_slots_order(resident: bool, size: int) -> None:
    examples = Examples((X, Y), CPU, resident)
    batches = list(examples.batches(ORDER, size))
    assert len(examples) == 20
    assert [x.shape for x, _ in batches] == [(2, size, 3)] * (18 // size)
    assert torch.equal(torch.cat([y for _, y in batches], dim=1), ORDER)
    assert torch.equal(torch.cat([x for x, _ in batches], dim=1), X[ORDER])


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("dtype", [torch.uint16, torch.bool, torch.bfloat16, torch.complex64], ids=str)
def test_batches_are_picked_of_any_dtype(resident: bool, dtype: torch.dtype) -> None:
    x, y = (torch.arange(20) % 7).to(dtype), Y.to(dtype)
    (batch,) = Examples((x, y), CPU, resident).batches(ORDER, 18)
    assert torch.equal(batch[0], x[ORDER])
    assert torch.equal(batch[1], y[ORDER])


@pytest.mark.parametrize("resident", [True, False])
def test_images_keep_their_channels_innermost(resident: bool) -> None:
    x = torch.rand(20, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    ((batch, _),) = Examples((x, Y), CPU, resident).batches(ORDER, 18)
    assert torch.equal(batch, x[ORDER])
    assert batch[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("resident", [True, False])
def test_a_last_incomplete_batch_is_left_out_of_training_and_not_of_evaluation(resident: bool) -> None:
    examples = Examples((X, Y), CPU, resident)
    assert [len(x[0]) for x, _ in examples.batches(ORDER, 5)] == [5, 5, 5]
    assert [len(x) for x in examples.parts(8)] == [8, 8, 4]
    assert torch.equal(torch.cat(list(examples.parts(8))), X)
    assert torch.equal(examples.first(2), X[:2])
    assert [x.shape for x in examples.of_each(ORDER, 8)] == [(2, 8, 3), (2, 8, 3), (2, 2, 3)]
    assert torch.equal(torch.cat(list(examples.of_each(ORDER, 8)), dim=1), X[ORDER])


def test_an_epoch_that_breaks_off_leaves_no_thread() -> None:
    stream = Examples((X, Y), CPU, resident=False).batches(ORDER, 1)
    next(stream)
    assert any(thread.name.startswith("feed") for thread in threading.enumerate())
    stream.close()
    assert not any(thread.name.startswith("feed") for thread in threading.enumerate())


def test_what_goes_wrong_in_the_other_thread_is_raised_in_this_one() -> None:
    with pytest.raises(IndexError):
        list(Examples((X, Y), CPU, resident=False).batches(ORDER + 10, 6))


def test_on_a_gpu_inputs_stay_on_the_host_where_they_would_crowd_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (X.nbytes * 4, X.nbytes * 100))
    gpu = torch.device("cuda")
    assert fits(X, gpu)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (X.nbytes * 4 - 1, X.nbytes * 100))
    assert not fits(X, gpu)
    assert fits(X, CPU), "the host holds them anyway"
