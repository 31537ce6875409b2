"""What a spec may say of how much an example counts: by its class, and by how sure a net is of it. Needs no torch."""

from __future__ import annotations

from lab.tasks.options import Options, number, option

BALANCE, FOCAL_GAMMA = "balance", "focal_gamma"

_ARE = {"multilabel": "labels", "regression": "values", "several": "of several kinds"}


def no_emphasis(kind: str) -> dict[str, str]:
    """What is not for a target of this kind, with the reason."""
    reasons: dict[str, str] = {}
    if kind != "classification":
        reasons[BALANCE] = f"is for a target of classes alone; this one's are {_ARE[kind]}"
    if kind in ("regression", "several"):
        reasons[FOCAL_GAMMA] = f"is for a target of classes or labels; this one's are {_ARE[kind]}"
    return reasons


class Balanced(Options, kw_only=True):
    """How much an example counts in training."""

    balance: float = option(
        "how much more examples of rare classes count in training: 0 not at all, 1 so that all classes count the same",
        number(0, 1),
        default=0.0,
        searched=True,
    )
    """Validation and test are never weighted. Probabilities are then those of classes of more even sizes."""
    focal_gamma: float = option(
        "how much less examples count in training that a net gets right and is sure of: gamma of focal loss; 0 no less",
        number(0, 10),
        default=0.0,
        searched=True,
    )
    """Lin et al. 2017, arXiv 1708.02002, eq. 4; with `balance` eq. 5. Validation and test keep the cross entropy."""

    def beside(self, kind: str) -> dict[str, str]:
        return {**super().beside(kind), **no_emphasis(kind)}
