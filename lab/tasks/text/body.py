"""A net that makes features of texts, without a head. b texts, t tokens, f features of a text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from lab.errors import TaskError
from lab.tasks.transfer.weights import digest_of
from lab.tasks.user_code import said_by


@dataclass(frozen=True)
class Body:
    """A net without a head, and what it takes to make it again from its weights."""

    net: nn.Module
    """From codes [b, t] to features [b, f]."""
    config: str
    """What its library makes it by, as JSON."""

    @cached_property
    def digest(self) -> str:
        """By which its weights, as they were at first, are known again."""
        return digest_of(self.net)

    def features_of(self, length: int) -> int:
        """How many features it makes of texts of so many tokens.

        Raises:
            TaskError: it does not take texts of that length, or is of another kind.
        """
        with torch.no_grad():
            try:
                made = self.net.eval()(torch.ones(1, length, dtype=torch.long))
            except Exception as error:  # a library's net may raise anything
                raise TaskError(
                    f"task.max_tokens: the body does not take texts of {length} tokens ({said_by(error)})"
                ) from None
        return int(made.shape[1])
