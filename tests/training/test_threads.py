from __future__ import annotations

import pytest
import torch

from lab.training.threads import on_threads


def test_operations_have_so_many_threads_meanwhile_and_the_process_its_own_afterwards() -> None:
    before = torch.get_num_threads()
    other = before + 1
    with on_threads(other):
        assert torch.get_num_threads() == other
    with pytest.raises(RuntimeError), on_threads(other):
        raise RuntimeError
    assert torch.get_num_threads() == before
