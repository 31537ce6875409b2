"""The errors that `lab` raises on purpose: each is one line a user can act on.

LabError
├── SpecError      the study as written cannot be run: names the place, the value, what is allowed
├── TaskError      the user's task (data, model, loss) breaks its contract
├── RecordError    the study folder cannot be read or written
├── EngineError    lanes cannot be started or were lost for good
│   └── EngineLost what held them together is gone; the study can be resumed
├── StudyError     the study ran and cannot go on (everything diverged, too much failed)
└── Interrupted    the user asked it to stop; everything is saved
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

TRUST = "if you trust where it comes from, say --trust"
"""The advice on a study folder that another user, or this one with another home, has begun."""

_LONGEST = 1_500
"""Characters that are shown of an error."""
DISTRIBUTION = "onecycle-lab"
"""The package's name on the package index, where `lab` is another project's."""


class LabError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line ends with.

    As text it is one line, and no longer than a terminal can show, whatever the value is that it names.

    >>> try:
    ...     lab.Study("digitz", lab.Space(max_lr=lab.FromBounds())).check()
    ... except lab.LabError as error:
    ...     print(error)  # doctest: +ELLIPSIS
    task.kind: 'digitz' is unknown (did you mean 'digits'?); choices: digits, ...
    """

    exit_code = 2

    def __str__(self) -> str:
        return one_line(super().__str__())


class SpecError(LabError):
    """A study, as written, cannot be run."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message

    def __reduce__(self) -> tuple[type[SpecError], tuple[str, str]]:
        return (type(self), (self.path, self.message))


class TaskError(LabError):
    """A task breaks the task contract."""


class RecordError(LabError):
    """A study folder cannot be read or written."""


class EngineError(LabError):
    """An engine could not start its lanes or lost them for good."""


class EngineLost(EngineError):  # noqa: N818 - what happened is no fault of the engine's
    """What holds an engine's lanes together is gone; everything finished is saved, and the study can be resumed."""


class StudyError(LabError):
    """A study ran into a state from which it cannot go on."""


class Interrupted(LabError):  # noqa: N818 - what happened is no error
    """The user stopped the study; it can be resumed."""

    exit_code = 130


def install_extra(extra: str) -> str:
    """The command that brings an optional part of the package.

    >>> install_extra("hub")
    "pip install 'onecycle-lab[hub]'"
    """
    return f"pip install '{DISTRIBUTION}[{extra}]'"


_HARMFUL = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
_SHOWN = {code: None for code in _HARMFUL if chr(code) not in "\n\t"} | dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


def plain(text: str) -> str:
    """A text without what a terminal takes for commands: control characters, and marks that turn the direction of
    writing. Bytes of a name that are no UTF-8 are shown as such.

    >>> plain("a\\x1b[2Jb")
    'a[2Jb'
    """
    return text.translate(_SHOWN)


def one_line(text: str) -> str:
    """A message as one line, no longer than anybody reads."""
    line = plain(" ".join(text.split()))
    # What is wrong stands at the beginning, and what is allowed at the end.
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST * 3 // 4]} ... {line[-_LONGEST // 4 :]}"


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def nearest(word: str, allowed: Iterable[str]) -> str:
    """` (did you mean 'x'?)` when one of `allowed` is close to `word`, else an empty string."""
    match = get_close_matches(word, list(allowed), n=1, cutoff=0.6)
    return f" (did you mean '{match[0]}'?)" if match else ""
