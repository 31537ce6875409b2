"""Texts of like lengths are made together: the same features in the same order, at the cost of fewer columns."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lab.tasks.text.awd_lstm import ConcatPooled, Encoder, Sizes
from lab.tasks.text.by_length import by_length
from lab.tasks.text.nets import mean_of_tokens


def _codes(lengths: list[int]) -> Tensor:
    columns = torch.arange(max(lengths, default=0) + 2)
    return torch.where(columns < torch.tensor(lengths)[:, None], columns + 1, 0)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(1, 5))
def test_features_are_those_of_all_at_once_in_their_order(lengths: list[int], texts: int) -> None:
    codes, seen = _codes(lengths), []

    def make(part: Tensor) -> Tensor:
        seen.append(part.shape)
        return mean_of_tokens(part[:, :, None].double(), (part > 0).double())

    made = by_length(codes, make, texts)
    whole = mean_of_tokens(codes[:, :, None].double(), (codes > 0).double())
    torch.testing.assert_close(made, whole, rtol=0, atol=0)
    together = sorted(lengths)
    assert [columns for _, columns in seen] == [
        max(together[i : i + texts][-1], 1) for i in range(0, len(together), texts)
    ]


def test_a_token_that_is_left_out_ends_no_text() -> None:
    codes = torch.tensor([[3, 0, 5, 0], [0, 0, 0, 0]])
    assert by_length(codes, lambda part: part, 8).tolist() == [[3, 0, 5], [0, 0, 0]]


def test_an_lstm_reads_a_batch_as_it_reads_each_text() -> None:
    torch.manual_seed(0)
    net = ConcatPooled(Encoder(Sizes(12, 4, 4, 1)))
    codes = _codes([3, 9, 0, 1] * 20)
    made = net(codes)
    made.sum().backward()
    torch.testing.assert_close(made, torch.cat([net(one[None]) for one in codes]), rtol=1e-5, atol=1e-6)
    assert net.encoder.embedding.weight.grad is not None
