"""A user's file has a name, as far as can be seen without running it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.errors import SpecError, TaskError
from lab.tasks.defined_names import check_file

BASE = "import sys\nclass Base: pass\n"


@pytest.mark.parametrize(
    "text",
    [
        "class T: pass",
        "T = Base",
        "if True:\n    T = Base",
        "from a import B as T",
        "from a import *",
        "for T in [Base]: pass",
        "match Base:\n    case T: pass",
        "match [1]:\n    case [*T]: pass",
        "match {1: 2}:\n    case {**T}: pass",
        "match 1:\n    case int() as T: pass",
        "locals()['T'] = Base",
        "locals().update(T=Base)",
        "setattr(sys.modules[__name__], 'T', Base)",
        "sys.modules[__name__].__dict__['T'] = Base",
        "import builtins\nbuiltins.exec('T = Base')",
        "eval('globals()').update(T=Base)",
        "def __getattr__(name): return Base",
    ],
)
def test_what_a_file_may_have_is_not_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(BASE + text + "\n")
    check_file(tmp_path / "task.py", "T", "task.kind")


def test_what_it_cannot_have_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(BASE)
    with pytest.raises(SpecError, match=r"task\.kind: .*task\.py: has no 'Bas' \(did you mean 'Base'\?\)"):
        check_file(tmp_path / "task.py", "Bas", "task.kind")
    (tmp_path / "task.py").write_text("class T:\n")
    with pytest.raises(TaskError, match=r"task\.py"):
        check_file(tmp_path / "task.py", "T", "task.kind")
