"""The forms in which a model leaves lab as one program: written, and loaded again as whoever gets it would load it.

Shapes: n examples.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from lab.errors import SpecError, StudyError, first_line, install_extra

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lab.report.summary import Summary
    from lab.stages.predictor import Ensemble

    _Function: TypeAlias = Callable[[Tensor], Tensor]

_TRACED = 4
"""Examples by which a model is traced."""
_LONGEST = 200
"""Letters of what another library says."""
_SIZES = (1, 3)
"""Examples of the first batches that a program is tried with; the last one has the rest."""
_INPUT, _OUTPUT = "x", "y"


class Program(ABC):
    """A form of a program in a file."""

    name: ClassVar[str]
    file: ClassVar[str]
    by: ClassVar[str]
    """What loads it."""

    needs: ClassVar[tuple[str, ...]] = ()
    """Packages of the extra of its name."""

    def check(self) -> None:
        """Refuse a form for which something is not installed.

        Raises:
            SpecError: with what to install.
        """
        lacking = [package for package in self.needs if find_spec(package) is None]
        if lacking:
            raise SpecError("--to", f"{self.name} needs {', '.join(lacking)}; {install_extra(self.name)}")

    def save(self, module: nn.Module, x: Tensor, folder: Path) -> None:
        """Write it; `x` are inputs [n, ...] to trace it by.

        Raises:
            StudyError: the model cannot be written so.
        """
        import torch

        examples = x[:_TRACED] if len(x) > 1 else torch.cat([x, x])  # one alone would be taken for the only number
        try:
            with torch.no_grad():
                self._save(module, examples, folder / self.file)
        except Exception as error:  # it traces a user's code
            said = first_line(error)[:_LONGEST]
            raise StudyError(f"{self.by} cannot export this model ({said}); its weights lie in the study") from error

    def loaded(self, folder: Path, x: Tensor) -> Tensor:
        """What the program in the file predicts for inputs [n, ...], in batches of several sizes.

        Raises:
            StudyError: it takes one size only.
        """
        import torch

        sizes = [min(size, len(x)) for size in _SIZES]
        ends = [0, sizes[0], min(sum(sizes), len(x)), len(x)]
        parts = [x[begin:end] for begin, end in pairwise(ends) if end > begin]
        with torch.no_grad():
            model = self._load(folder / self.file)
            try:
                return torch.cat([model(part) for part in parts])
            except Exception as error:
                said = first_line(error)[:_LONGEST]
                raise StudyError(f"the exported model takes batches of one size only ({said})") from error

    def beside(self, folder: Path) -> None:  # noqa: B027 - most forms have nothing
        """Write what else belongs to this form."""

    def facts(self, ensemble: Ensemble, nets: Sequence[nn.Module], scores: Mapping[str, float]) -> dict[str, Any]:
        """What else `config.json` says in this form."""
        return {}

    def front_matter(self, ensemble: Ensemble, summary: Summary, scores: Mapping[str, float]) -> list[str]:
        """Lines before the first of the model card."""
        return []

    @abstractmethod
    def _save(self, module: nn.Module, examples: Tensor, path: Path) -> None: ...

    @abstractmethod
    def _load(self, path: Path) -> _Function: ...

    @abstractmethod
    def snippet(self, recipe: str, gives: str, inputs: str) -> list[str]:
        """Lines of Python that load it and predict.

        Args:
            recipe: lines that make a tensor `x` of raw inputs; may be empty.
            gives: what is predicted.
            inputs: the type and shape of `x`.
        """


class TorchProgram(Program):
    """As `torch.export` saves it."""

    name, file, by = "torch", "model.pt2", "PyTorch"

    def _save(self, module: nn.Module, examples: Tensor, path: Path) -> None:
        import torch

        shapes = ({0: torch.export.Dim.AUTO},)
        torch.export.save(torch.export.export(module, (examples,), dynamic_shapes=shapes, strict=False), path)

    def _load(self, path: Path) -> _Function:
        import torch

        model: _Function = torch.export.load(path).module()
        return model

    def snippet(self, recipe: str, gives: str, inputs: str) -> list[str]:
        load = f'model = torch.export.load("{self.file}").module()'
        return ["import torch", *recipe.splitlines(), "", load, f"{gives} = model(x)  # x: {inputs}"]


class OnnxProgram(Program):
    """As ONNX has it, made by PyTorch's own exporter of graphs, for runtimes in any language."""

    name, file, by = "onnx", "model.onnx", "ONNX"
    needs = ("onnx", "onnxscript", "onnxruntime")

    def _save(self, module: nn.Module, examples: Tensor, path: Path) -> None:
        import torch

        with _quiet():
            program = torch.onnx.export(
                module,
                (examples,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim.AUTO},),
                input_names=[_INPUT],
                output_names=[_OUTPUT],
                verbose=False,
            )
            assert program is not None  # as dynamo makes one
            program.save(path)

    def _load(self, path: Path) -> _Function:
        import onnxruntime
        import torch

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors
        try:
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            said = first_line(error)[:_LONGEST]
            raise StudyError(f"onnxruntime does not load the exported model ({said})") from error

        def predicted(x: Tensor) -> Tensor:
            return torch.from_numpy(session.run(None, {_INPUT: x.numpy()})[0])

        return predicted

    def snippet(self, recipe: str, gives: str, inputs: str) -> list[str]:
        made = ["import torch", *recipe.splitlines(), "", "x = x.numpy()"] if recipe else []
        return [
            "import onnxruntime",
            *made,
            "",
            f'session = onnxruntime.InferenceSession("{self.file}")',
            f'{gives} = session.run(None, {{"{_INPUT}": x}})[0]  # x: {inputs}',
        ]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of libraries that are not there, and of PyTorch's own old ways; nobody can do anything."""
    exporter = logging.getLogger("torch.onnx")
    before = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(before)
