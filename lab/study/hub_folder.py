"""A model folder as the Hugging Face Hub shows it: a card with front matter, and a loader that needs no lab."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.study.program import TorchProgram
from lab.tasks.builtin import BUILTIN

if TYPE_CHECKING:
    from torch import nn

    from lab.report.summary import Summary
    from lab.stages.predictor import Ensemble
    from lab.tasks.task import Task

LOADER = "loader.py"
_TAG = "onecycle-lab"
_PIPELINES: Mapping[str, Mapping[str, str]] = {
    "digits": {"classification": "image-classification"},
    "images": {"classification": "image-classification", "multilabel": "image-classification"},
    "table": {
        "classification": "tabular-classification",
        "multilabel": "tabular-classification",
        "regression": "tabular-regression",
    },
    "text": {"classification": "text-classification", "multilabel": "text-classification"},
}
"""What the Hub calls a built-in task with targets of a kind; what it has no word for is not said."""


class HubProgram(TorchProgram):
    """PyTorch's program, loaded as the folder's loader does: with the weights that lie beside it."""

    name = "hub-folder"

    def _load(self, path: Path) -> Any:
        from lab.study.hub_loader import load  # here: it needs torch

        return load(path.parent)

    def snippet(self, recipe: str, gives: str, inputs: str) -> list[str]:
        """As for any program; the folder is the current one."""
        made = ["import torch", *recipe.splitlines(), ""] if recipe else []
        return ["from loader import load", *made, "", "model = load()", f"{gives} = model(x)  # x: {inputs}"]

    def beside(self, folder: Path) -> None:
        (folder / LOADER).write_bytes(Path(__file__).with_name("hub_loader.py").read_bytes())

    def facts(self, ensemble: Ensemble, nets: Sequence[nn.Module], scores: Mapping[str, float]) -> dict[str, Any]:
        """Net, hyperparameters and metrics, and the outputs' names as the Hub reads them."""
        from lab.training.costs import parameters_of  # here: it needs torch

        names = list(ensemble.class_names)
        return {
            "library_name": "pytorch",
            "architectures": list(dict.fromkeys(type(net).__name__ for net in nets)),
            "members": [
                {
                    "name": member.name,
                    "weight": member.weight,
                    "temperature": member.temperature,
                    "hyperparameters": dict(member.params),
                    "parameters": parameters_of(net),
                    "layers": str(net).splitlines(),
                }
                for member, net in zip(ensemble.net_members, nets, strict=True)
            ],
            "id2label": {str(i): name for i, name in enumerate(names)},
            "label2id": {name: i for i, name in enumerate(names)},
            "metrics": {name: score for name, score in scores.items() if math.isfinite(score)},
        }

    def front_matter(self, ensemble: Ensemble, summary: Summary, scores: Mapping[str, float]) -> list[str]:
        """Metadata of a model card, as https://huggingface.co/docs/hub/model-cards has it. The license is its user's
        to say."""
        pipeline = None if ensemble.kinds else _pipeline(ensemble.task)
        kind = {} if pipeline is None else {"pipeline_tag": pipeline}
        values: dict[str, Any] = {
            "library_name": "pytorch",
            "license": "unknown",
            **kind,
            "tags": [_TAG, ensemble.kind_or_several],
        }
        finite = {name: score for name, score in scores.items() if math.isfinite(score)}
        if finite:
            metrics = [{"type": name, "value": score, "name": f"test {name}"} for name, score in finite.items()]
            result = {
                "task": {"type": pipeline or ensemble.kind_or_several},
                "dataset": {"type": type(ensemble.task).__name__.lower(), "name": summary.data, "split": "test"},
                "metrics": metrics,
            }
            values |= {"metrics": list(finite), "model-index": [{"name": summary.name, "results": [result]}]}
        return ["---", *_yaml(values).splitlines(), "---", ""]


def _pipeline(task: Task) -> str | None:
    """The Hub's word for what a task predicts of what."""
    for name, of_kind in _PIPELINES.items():
        module, _, own = BUILTIN[name].task.partition(":")
        if isinstance(task, getattr(import_module(module), own)):
            return of_kind.get(task.kind)
    return None


def _yaml(values: Mapping[str, Any]) -> str:
    from ruamel.yaml import YAML

    yaml, text = YAML(), io.StringIO()
    yaml.default_flow_style, yaml.allow_unicode, yaml.width = False, True, 10_000
    yaml.dump(dict(values), text)
    return text.getvalue()
