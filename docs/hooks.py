"""Pages of the manual that follow from the code: commands, and the options of tasks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from lab.study.schema import spec_schema
from lab.tasks.builtin import BUILTIN

_OUTSIDE = re.compile(r"\[([^\]]*)\]\(\.\./((?:reports|studies|cluster)/[^)]*)\)")
"""A link to a file of the repository that is no page of the manual."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    files.append(File.generated(config, "reference/cli.md", content=commands()))
    files.append(File.generated(config, "reference/tasks.md", content=tasks()))
    for path in sorted(Path(config.docs_dir, "notebooks").glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=notebook(path)))
    files.append(File.generated(config, "reference/study.schema.json", content=json.dumps(spec_schema(), indent=1)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    return _OUTSIDE.sub(r"\1", markdown)


def notebook(path: Path) -> str:
    """A notebook as a page; it is kept without outputs, so that its cells are all there is to show."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = ["".join(cell["source"]) for cell in cells]
    shown = [
        f"```python\n{part}\n```" if cell["cell_type"] == "code" else part.replace(".ipynb)", ".md)")
        for cell, part in zip(cells, parts, strict=True)
    ]
    title, *rest = shown
    return "\n\n".join([title, f"[Open it as a notebook]({path.name}).", *rest])


def commands() -> str:
    """Every command with its arguments and options, as typer documents them."""
    command = [sys.executable, "-m", "typer", "lab.cli.main", "utils", "docs", "--name", "lab"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def tasks() -> str:
    """The tasks of the package and what a spec may say of each."""
    lines = ["# Tasks and their options", ""]
    for kind, builtin in BUILTIN.items():
        lines += [f"## `{kind}`", "", f"{builtin.summary}.", "", "| option | default | meaning |", "|---|---|---|"]
        for name, entry in builtin.options.declared().items():
            default = "required" if builtin.options.requires(name) else f"`{builtin.options.default(name)!r}`"
            searched = "; a hyperparameter of this name wins over it" if entry.searched else ""
            meaning = " ".join(entry.meaning.split()).replace("|", "\\|")
            lines.append(f"| `{name}` | {default.replace('|', '&#124;')} | {meaning}{searched} |")
        lines.append("")
    return "\n".join(lines)
