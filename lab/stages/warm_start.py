"""A new study that starts from another's trials: read once, kept in the study folder, prior observations and no more.

They teach the sampler. They are none of this study's trials: not counted, not explained, never confirmed. A folder of
studies, of whatever tasks, has their settings tried first instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab.errors import RecordError, SpecError
from lab.record.folder import Record, read_json, write_json
from lab.record.trials import TrialRow, read_trials
from lab.record.trust import open_spec
from lab.search.observed import as_trials
from lab.spec.distributions import distributions
from lab.spec.space import Space
from lab.spec.study import StudySpec
from lab.spec.trial import Observation, Observed, Outcome
from lab.stages import earlier_studies, enqueued
from lab.stages.explore import WarmStart
from lab.tasks.load import undecided_of

_OPTION = "--warm-start"
_TEACHES = (Outcome.COMPLETED, Outcome.PRUNED, Outcome.DIVERGED)


def begin(spec: StudySpec, record: Record, source: Path) -> str:
    """Read another study's trials, or the settings of a folder of studies, into this one's; what was read, in words.

    A study that has begun goes on with what it read then, whatever has become of the source.

    Raises:
        SpecError: the source's scores are not this study's, none of its trials lies in this space, or the sampler
            takes none.
        RecordError: this study has begun without, or from another.
    """
    if path_of(record).exists() and record.begun:
        kept = _kept(record)
        if kept["source"] != str(source.resolve()):
            raise RecordError(f"{path_of(record)}: this study has started warm from {kept['source']}; leave {_OPTION}")
        settings = kept.get("settings", 0)
        what = f"with {settings} settings tried first" if settings else f"from {len(kept['trials'])} trials"
        return f"as begun, {what} of {kept['source']}"
    if record.begun:
        raise RecordError(f"{record.folder}: has begun without {_OPTION}; choose another --dir")
    if source.resolve() == record.folder.resolve():
        raise SpecError(_OPTION, f"{source} is this study itself; to go on with it use 'lab study extend'")
    try:
        is_folder_of_studies = earlier_studies.holds_studies(source)
    except OSError as error:
        raise SpecError(_OPTION, f"{source} cannot be read ({error.strerror})") from error
    if is_folder_of_studies:
        return _try_first(spec, record, source)
    if (kind := spec.search.sampler.get("kind", "forest")) != "forest":
        raise SpecError(_OPTION, f"the sampler {kind!r} takes no other study's trials; choose 'forest'")
    if spec.search.objectives:
        raise SpecError(
            _OPTION, "teaches the score alone, and search.objectives asks for more; take a folder of studies"
        )
    other = open_spec(Record(source).require())
    _same_score(spec, other, source)
    # A version that did not try undecided options trained with a value that its trials do not say.
    unsaid = {name: u.earlier for name, u in undecided_of(spec.task).items() if name not in other.space}
    rows = [
        replace(row, trial=replace(row.trial, params={**unsaid, **row.params}))
        for row in read_trials(Record(source), "explore", other.store)
        if row.outcome in _TEACHES
    ]
    if not rows:
        raise SpecError(_OPTION, f"{source} has no finished trial of stage 'explore'")
    if not spec.space.needs_bounds and not _inside(rows, spec.space):
        raise SpecError(_OPTION, f"none of the {len(rows)} trials of {source} lies in this space")
    write_json(path_of(record), {"source": str(source.resolve()), "trials": [_as_json(row) for row in rows]})
    return f"from {len(rows)} trials of {source}"


def _try_first(spec: StudySpec, record: Record, folder: Path) -> str:
    earlier = earlier_studies.earlier_in(folder, spec.space, spec.search, record)
    if not earlier:
        names = ", ".join(spec.space)
        raise SpecError(
            _OPTION,
            f"no study in {folder} that can be read has ended its search with a setting of {names} in their ranges",
        )
    enqueued.add(record, spec.space, [one.setting for one in earlier])
    write_json(path_of(record), {"source": str(folder.resolve()), "trials": [], "settings": len(earlier)})
    shown = ", ".join(one.folder.name for one in earlier)
    return f"with {len(earlier)} settings tried first, those of {shown}"


def observed_before(record: Record, space: Space) -> tuple[Observed, ...]:
    """What was read and lies in the space; nothing where the study starts cold."""
    if not path_of(record).exists():
        return ()
    return _inside([_from_json(one) for one in _kept(record)["trials"]], space)


def warm_start_of(record: Record, used: Sequence[Observed]) -> WarmStart | None:
    """For the artefact: where the trials came from, how many were read, and how many lie in the space."""
    if not path_of(record).exists():
        return None
    kept = _kept(record)
    return WarmStart(kept["source"], len(kept["trials"]), len(used), kept.get("settings", 0))


def path_of(record: Record) -> Path:
    return record.folder / "warm_start.json"


def _same_score(spec: StudySpec, other: StudySpec, source: Path) -> None:
    """Refuse where the other study's scores mean something else."""
    mine, theirs = _meaning(spec), _meaning(other)
    for name, value in mine.items():
        if theirs[name] != value:
            what = f"{source} has {name} {theirs[name]!r}, this study {value!r}: its scores tell nothing of this one's"
            raise SpecError(_OPTION, f"{what}; a folder of studies, such as {source.parent}, gives their settings")


def _meaning(spec: StudySpec) -> dict[str, Any]:
    ref = spec.task
    return {
        "task": ref.kind,
        "task options": {name: value for name, value in ref.options.items() if value is not None},
        "search.epochs": spec.search.epochs,
        "search.objective": spec.search.objective,
        "batch_size": spec.batch_size,
        "optimizer": spec.optimizer,
        "schedule": spec.schedule.model_dump(),
    }


def _inside(observed: Sequence[Observed], space: Space) -> tuple[Observed, ...]:
    """Points of the space: of its hyperparameters those that exist there, no others, within their ranges."""
    dists = distributions(space)
    whole = [one for one in observed if one.params.keys() == {n for n in space if space.active(n, one.params)}]
    return tuple(one for one in whole if as_trials([one], dists))


def _kept(record: Record) -> dict[str, Any]:
    content = read_json(path_of(record))
    if not isinstance(content.get("trials"), list) or "source" not in content:
        raise RecordError(f"{path_of(record)}: lacks source or trials; restore it from a copy")
    return content


def _as_json(row: TrialRow) -> dict[str, Any]:
    return {"params": row.params, "outcome": str(row.outcome), "score": row.score, "curve": row.curve}


def _from_json(one: dict[str, Any]) -> Observation:
    curve = {int(epoch): score for epoch, score in one["curve"].items() if score is not None}
    return Observation(one["params"], Outcome(one["outcome"]), one["score"], curve)
