"""What a study's journal says while the study runs, and what came of the study beside the same one left alone."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Journal:
    """What the study's journal has said so far, read as it grows; of one stage, so trials have their storage's ids."""

    path: Path
    offset: int = 0
    replaces: dict[int, int] = field(default_factory=dict)
    """The number that a trial had before it was preempted and queued again."""
    created: int = 0
    epochs: Counter[tuple[int, int]] = field(default_factory=Counter)
    ended: Counter[int] = field(default_factory=Counter)
    lanes: dict[int, int] = field(default_factory=dict)

    def read(self) -> None:
        """Take in what is new, but for a transaction whose end is not there yet: a torn one will be cut off."""
        if not self.path.exists():
            return
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        while whole.endswith(b" \n"):
            whole = whole[: whole.rfind(b"\n", 0, -1) + 1]
        self.offset += len(whole)
        for line in whole.splitlines():
            self._take(json.loads(line))

    def _take(self, log: dict[str, Any]) -> None:
        trial = log.get("trial_id", -1)
        match log["op_code"]:
            case 4:
                before = log.get("user_attrs", {}).get("replaces")
                if before is not None:
                    self.replaces[self.created] = before
                self.created += 1
            case 6 if log["state"] in (1, 2, 3):
                self.ended[trial] += 1
            case 7:
                self.epochs[trial, log["step"]] += 1
            case 8 if "assignment" in log["user_attr"]:
                self.lanes[trial] = log["user_attr"]["assignment"]["lane"]

    def running(self, lanes: set[int] | None) -> set[int]:
        """Trials under way in these lanes, or in all."""
        return {t for t, lane in self.lanes.items() if not self.ended[t] and (lanes is None or lane in lanes)}

    def marks(self, trials: set[int]) -> int:
        """Epochs and ends of these trials: grows when one of them goes on."""
        return sum(1 for trial, _ in self.epochs if trial in trials) + sum(self.ended[t] for t in trials)

    def origin(self, trial: int) -> int:
        """Which trial this one was when it was first proposed."""
        while trial in self.replaces:
            trial = self.replaces[trial]
        return trial


def account(folder: Path, alone: Path, trials: int, journal: Journal, seen: set[tuple[int, int]]) -> dict[str, Any]:
    """Hold a study that went through faults against the same one left alone.

    A trial that was preempted for want of memory comes back under another number; it is compared with the trial that it
    was at first. The study left alone has as many trials more, so that it has every one of these.

    Args:
        trials: how many were asked for.
        seen: trials and epochs that were in the journal at any time.
    """
    from lab.record.folder import Record
    from lab.record.trials import read_trials
    from lab.stages import explore

    def results_of(path: Path, name: Any) -> list[tuple[int, Any]]:
        rows = read_trials(Record(path), "explore")
        return [(name(row.number), (row.params, str(row.outcome), row.score, row.curve)) for row in rows]

    rows, undisturbed = results_of(folder, journal.origin), dict(results_of(alone, int))
    counts = Counter(n for n, _ in rows)
    best = max((score, -n) for n, (_, _, score, _) in undisturbed.items() if n in counts and score is not None)
    chosen = explore.STAGE.need(Record(folder)).best
    choice = (chosen.score, -chosen.trial)
    return {
        "trials": len(rows),
        "trials_as_undisturbed": sum(undisturbed[n] == result for n, result in rows),
        "trials_not_accounted_once": trials
        - len(counts)
        + sum(count != 1 for count in (*counts.values(), *journal.ended.values())),
        "trials_preempted": len(journal.replaces),
        "lost_epochs": len(seen - set(journal.epochs)),
        "duplicate_epochs": sum(count - 1 for count in journal.epochs.values()),
        # Among equals the earlier number is chosen, and a preempted trial's is a later one.
        "same_choice": choice[:1] == best[:1] if journal.replaces else choice == best,
        "epochs": sum(len(result[3]) for _, result in rows),
    }
