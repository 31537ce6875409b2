"""The options of the task `digits`. Needs no torch."""

from __future__ import annotations

from lab.tasks.options import one_of, option, whole
from lab.tasks.scored import Scored


class DigitsOptions(Scored):
    """What a spec may say of digits."""

    model: str = option("mlp or cnn", one_of("mlp", "cnn"), default="mlp")
    """`mlp` is 64-128-128-10 with batch norm and dropout; `cnn` has 16k parameters."""
    split_seed: int = option("seed of the split", whole(0, 2**32 - 1), default=0)
    """Independent of the study's seed."""
