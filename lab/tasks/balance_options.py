"""What a spec may say of classes of very different sizes. Needs no torch."""

from __future__ import annotations

from lab.tasks.options import Options, number, option

BALANCE = "balance"


class Balanced(Options, kw_only=True):
    """How much more an example of a rare class counts in training."""

    balance: float = option(
        "how much more examples of rare classes count in training: 0 not at all, 1 so that all classes count the same",
        number(0, 1),
        default=0.0,
        searched=True,
    )
    """Validation and test are never weighted. Probabilities are then those of classes of more even sizes."""
