"""A model folder: what a study hands out, in files that PyTorch alone reads, or any runtime of ONNX.

`model.pt2`, or `model.onnx`, is the whole of it as a program: preprocessing of tensors, nets, their mean and its
temperature. `model.safetensors` holds the nets' weights, `config.json` what is known of inputs and outputs, `README.md`
a model card with a snippet that loads it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.errors import SpecError, StudyError
from lab.record.folder import json_form
from lab.report.number import number
from lab.report.summary import Summary
from lab.study.forms import program_of
from lab.study.program import Program, TorchProgram

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lab.stages.predictor import Ensemble

FORMAT = 1
PROGRAM, WEIGHTS, CONFIG, CARD = TorchProgram.file, "model.safetensors", "config.json", "README.md"
_CHECKED = 64
"""Examples by which a model is checked once it is loaded again."""
_CLOSE = 1e-4


@dataclass(frozen=True)
class ModelFolder:
    """What was written."""

    folder: Path
    program: str
    """The name of the program's file."""
    nets: int
    left_out: tuple[str, ...]
    """Members that are no nets."""
    examples: int
    """By which it was checked."""
    difference: float
    """The largest between what the file predicts, loaded again, and what the study's nets predict."""
    scores: Mapping[str, float]
    """The nets' scores on the test split; empty where they were not asked for."""


def check_empty(folder: Path) -> None:
    """Refuse to write into a folder that holds something.

    Raises:
        SpecError: it does.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SpecError("--output", f"{folder} exists already and is not empty; choose another folder")


def export_model(
    ensemble: Ensemble,
    summary: Summary,
    folder: Path,
    x: Tensor,
    y: Tensor | None = None,
    about: Sequence[str] | None = None,
    more: Mapping[str, Any] | None = None,
    to: str = TorchProgram.name,
) -> ModelFolder:
    """Write a model folder, and load it back to compare it with the study's own predictions.

    Args:
        folder: is made; must not be there, or be empty.
        x: inputs [n, ...] as the task's `data` holds them, or as it reads them.
        y: targets [n, ...] of all of them, to score the nets by.
        about: what the card says of its worth; None: what the study says of what it hands out.
        more: further facts for `config.json`.
        to: the form of the program: `torch`, `onnx`, or `hub-folder`, which has a card and a loader for the Hub.

    Raises:
        SpecError: the folder is not empty, or what the form needs is not installed.
        StudyError: the ensemble has no nets, or they cannot be exported as they are.
    """
    program = program_of(to)
    check_empty(folder)
    scores = {} if y is None else ensemble.scores(ensemble.predict_by_nets(x), y)
    x = x[:_CHECKED]
    module, expected = ensemble.as_module(x), ensemble.task.outward(ensemble.predict_by_nets(x))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        made = Path(temporary) / "model"
        made.mkdir()
        program.save(module, x, made)
        _save_weights(module, made)
        again = program.loaded(made, x)
        difference = float((again.double() - expected.double()).abs().max())
        if again.shape != expected.shape or not difference < _CLOSE * max(float(expected.abs().max()), 1.0):
            raise StudyError(f"the exported model predicts something else: it differs by up to {difference:.3g}")
        written = ModelFolder(folder, program.file, len(module.nets), ensemble.left_out, len(x), difference, scores)
        facts = {**program.facts(ensemble, [*module.nets], scores), **(more or {})}
        (made / CONFIG).write_text(
            json.dumps({**_config(ensemble, x, written), **json_form(facts)}, indent=1) + "\n", encoding="utf-8"
        )
        (made / CARD).write_text(_card(ensemble, summary, x, written, about, program), encoding="utf-8")
        program.beside(made)
        if folder.exists():
            folder.rmdir()
        shutil.move(made, folder)
    return written


def _save_weights(module: nn.Module, folder: Path) -> None:
    from safetensors.torch import save_file

    save_file({name: t.contiguous().clone() for name, t in module.state_dict().items()}, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)


def _config(ensemble: Ensemble, x: Tensor, written: ModelFolder) -> dict[str, Any]:
    import torch

    return {
        "format": FORMAT,
        "kind": ensemble.kind_or_several,
        **({"targets": dict(ensemble.kinds)} if ensemble.kinds else {}),
        "names": list(ensemble.class_names),
        "thresholds": list(ensemble.thresholds),
        "input": {"dtype": str(x.dtype).removeprefix("torch."), "shape": ["n", *x.shape[1:]]},
        "preprocessing": json_form(ensemble.fitted()),
        "nets": written.nets,
        "torch": torch.__version__,
    }


def _card(
    ensemble: Ensemble, summary: Summary, x: Tensor, written: ModelFolder, about: Sequence[str] | None, program: Program
) -> str:
    shape = ", ".join(map(str, ["n", *x.shape[1:]]))
    dtype = str(x.dtype).removeprefix("torch.")
    gives = "values" if ensemble.kind == "regression" else "probabilities"
    handed, setup, metric = summary.handed, summary.setup, summary.test_metric
    nets = f"the mean of {written.nets} nets" if written.nets > 1 else "one net"
    lines = program.front_matter(ensemble, summary, written.scores)
    lines += [f"# {summary.name}", "", f"Trained on {summary.data}: {nets}, calibrated.", "", *(about or ())]
    if about is None and handed is not None and metric is not None:
        on = f"on {handed.examples} test examples"
        if metric in written.scores:
            lines += [f"- {metric} {number(written.scores[metric])} {on}."]
        if written.left_out:
            lines += [f"- With {', '.join(written.left_out)}, as the study hands it out: {number(handed.score)} {on}."]
        lines += [f"- Beside it {way.name}: {number(way.score)}." for way in handed.others]
    if setup is not None:
        lines += [f"- {setting.name}: {number(setting.value)}" for setting in setup.settings]
    if ensemble.class_names:
        lines += [f"- Names, in the order of the outputs: {', '.join(ensemble.class_names)}."]
    lines += [
        f"- Loaded again, it predicted the same on {written.examples} examples, to {written.difference:.2g}.",
        "",
        "```python",
        *program.snippet(ensemble.recipe, gives, f"{dtype} [{shape}]"),
        "```",
        "",
        f"Inputs are made as `{CONFIG}` says under `preprocessing`. `{WEIGHTS}` holds the nets' weights by name.",
        "",
    ]
    return "\n".join(lines)
