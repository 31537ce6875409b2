"""The section `execution` of a spec: the engine and its lanes."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lab.errors import SpecError
from lab.spec.amounts import Many
from lab.spec.section import Section

_MOST_THREADS = 512
"""More than a machine's cores only slow it down; a hundred thousand end the process."""


class ExecutionSpec(Section):
    """The engine, and how its lanes run. `auto` is replaced before the study starts."""

    engine: Literal["auto", "ray", "local"] = "auto"
    """`auto`: `local` where training takes less time than starting Ray's lanes would save."""
    lanes: Many | Literal["auto"] = "auto"
    width: Many | Literal["auto"] = "auto"
    stack: Many | Literal["auto"] = "auto"
    """Slots that are trained as one stacked model, where trials differ in batch size or architecture."""
    path: Literal["auto", "stacked", "vmap", "sequential", "function"] = "auto"
    threads: Annotated[int, Field(ge=1, le=_MOST_THREADS)] | Literal["auto"] = "auto"
    """Threads that share a step. `auto`: one or all `cpus_per_lane` on Ray, and as many as help in this process."""
    precision: Literal["float32", "bf16"] = "float32"
    """`bf16`: forward passes under PyTorch's autocast, with weights and optimizer in float32."""
    micro_batch: Many | None = None
    """Examples of a batch that are computed at once, where a whole one is larger than the memory. Gradients of the
    parts are added up before the optimizer's step, so that schedule and range test stay as they are."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|(cuda|mps|xpu)(:\d+)?)$")] = "auto"
    processes: Annotated[int, Field(ge=1, le=_MOST_THREADS)] | Literal["auto"] = "auto"
    """Processes of a lane among which each batch of its one model is divided. `auto`: one for each of its GPUs."""
    sharded: bool = False
    """Whether the model itself is divided among these processes, where one GPU does not hold it while it trains."""
    cpus_per_lane: Annotated[float, Field(gt=0)] = 1
    gpus_per_lane: Annotated[float, Field(ge=0)] = 0
    checkpoint_s: Annotated[float, Field(gt=0)] = 30.0
    hang_s: Annotated[float, Field(gt=0)] = 900.0
    """A lane on Ray that finishes nothing for so long, and for 20 times its longest epoch, is restarted."""
    beside_s: Annotated[float, Field(ge=0)] = 300.0
    """Most seconds for all baselines together. One that has not come by then is left out."""
    epoch_metrics: bool = False
    """Whether every metric of every epoch is kept, and not the score alone: `--track` with runs for trials asks for it.
    Trials then take twice the room."""

    @model_validator(mode="after")
    def _whole_gpus(self) -> Self:
        if self.gpus_per_lane > 1 and self.gpus_per_lane % 1:
            raise SpecError("execution.gpus_per_lane", f"{self.gpus_per_lane} is neither below 1 nor a whole number")
        return self
