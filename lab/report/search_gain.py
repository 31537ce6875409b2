"""What the search was worth: the confirmed setup against the settings that need no search, on fresh seeds."""

from __future__ import annotations

from lab.stages import race
from lab.stages.confirm import Candidate, Confirmed


def search_gain(confirmed: Confirmed) -> str | None:
    """One sentence; None where an earlier version confirmed, or no run without a search completed."""
    unsearched = next((c for c in confirmed.candidates if c.trial is None), None)
    if unsearched is None or unsearched.summary is None:
        return None
    usual = f"the usual settings, without a search ({_settings(unsearched)})"
    chosen = confirmed.chosen.one_cycle
    if chosen.trial is None:
        return f"Searching did not pay: no setup was better than {usual}."
    beaten = 1 in race.beaten({0: chosen.scores, 1: unsearched.scores}, confirmed.direction)
    scores = f"{confirmed.metric} {chosen.mean:.4g} against {unsearched.summary.mean:.4g}"
    if beaten:
        return f"Searching paid: on fresh seeds the best setup has {scores} of {usual}."
    return (
        f"Searching hardly paid: on fresh seeds the best setup has {scores} of {usual}, less than seeds explain. "
        "Settings matter little here; take the usual ones, and spend on data or another model."
    )


def _settings(candidate: Candidate) -> str:
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in candidate.params.items()
        if name != "cycles"
    )
