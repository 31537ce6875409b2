"""How a net's weights are drawn, as a hyperparameter; without torch."""

from __future__ import annotations

from collections.abc import Mapping

from lab.errors import SpecError, nearest
from lab.spec.space import Choice, Dimension

INIT = "init"
"""The hyperparameter that says it."""
DEFAULT, LSUV = "default", "lsuv"
"""As the model itself draws them, and by layer-sequential unit variance; see `lab.lsuv`."""


def check_init(space: Mapping[str, Dimension]) -> None:
    """Refuse ways to draw weights that there are not.

    Raises:
        SpecError: with the choices.
    """
    dimension = space.get(INIT)
    if dimension is None:
        return
    if not isinstance(dimension, Choice):
        raise SpecError(f"space.{INIT}", f"is a range; give a choice of {DEFAULT} and {LSUV}")
    for option in dimension.options:
        if option not in (DEFAULT, LSUV):
            hint = nearest(str(option), (DEFAULT, LSUV))
            raise SpecError(f"space.{INIT}", f"{option!r} is unknown{hint}; choices: {DEFAULT}, {LSUV}")


def draws_anew(space: Mapping[str, Dimension]) -> bool:
    """Whether a trial may have weights that are drawn in place of the model's own."""
    dimension = space.get(INIT)
    return isinstance(dimension, Choice) and LSUV in dimension.options
