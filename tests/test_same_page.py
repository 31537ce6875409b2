"""The page that sets lab beside Optuna and fastai: its code runs, and its lines are counted."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests import forked
from tests.small import ROOT, environment

PAGE = (ROOT / "docs/same.md").read_text()
TOOLS = ("lab", "Optuna", "fastai")


def blocks(text: str, tool: str) -> list[str]:
    return re.findall(rf'^```python title="{tool}"\n(.*?)```', text, flags=re.DOTALL | re.MULTILINE)


def lines_of(code: str) -> int:
    return sum(1 for line in code.splitlines() if line.strip() and not line.strip().startswith("#"))


def test_the_lines_of_code_are_those_that_the_table_says() -> None:
    sections = {section.splitlines()[0].lower(): section for section in PAGE.split("\n## ")[1:]}
    rows = re.findall(r"^\| ([\w. ,']+) \| ([\d-]+) \| ([\d-]+) \| ([\d-]+) \|$", PAGE, flags=re.MULTILINE)
    assert [name for name, *_ in rows] == list(sections)
    for name, *said in rows:
        counted = [sum(map(lines_of, blocks(sections[name], tool))) or "-" for tool in TOOLS]
        assert list(map(str, counted)) == said, name
    shown = "\n".join(block for tool in TOOLS for block in blocks(PAGE, tool))
    assert max(map(len, shown.splitlines())) <= 120, "a line is no longer than the package's own"


@pytest.mark.parametrize("tool", ["lab", "Optuna"])
def test_the_code_runs_from_top_to_bottom(tool: str, tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text("\n".join(blocks(PAGE, tool)) + "\nassert len(trials) >= 8\n")
    done = forked.run(["page.py"], environment(), tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_code_of_fastai_is_python() -> None:
    assert blocks(PAGE, "fastai")
    ast.parse("\n".join(blocks(PAGE, "fastai")))
