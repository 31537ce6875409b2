"""Images decoded once for all trials of a lane, beside loaders that decode them for each trial and epoch; and memory.

    python studies/benchmarks/streams.py [--images 2000] [--pixels 256] [--size 32] [--epochs 3] [--width 8] [--runs 3]
        --out reports/streams

JPEGs of `--pixels` are written to class folders. `lab` is one lane of `--width` trials of the task `images`, its time
from the opening of the folder to the last epoch. `loaders` is the same net, optimizer, batch size and epochs as a
user's loop writes them, one trial after the other: a data set that opens, decodes and resizes, and PyTorch's
`DataLoader` with a worker per core. The memory is that which a process holds for itself (`RssAnon`, at its peak) while
it opens images of full size and goes through an epoch's batches of two trials: in memory as a whole, and as it is where
they would take more than a quarter of the memory. Every measurement is a process of its own; run it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from measured import keep, listed, machine, median_and_span, versions

BATCH, CLASSES = 32, 4


def write_images(folder: Path, images: int, pixels: int) -> None:
    """JPEGs of smoothed noise, about as many bytes as a photo of that size has, a tint for each class."""
    from PIL import Image

    random = np.random.default_rng(0)
    for i in range(images):
        label = i % CLASSES
        coarse = random.integers(0, 200, (pixels // 2, pixels // 2, 3)).astype(np.uint8)
        coarse[..., label % 3] += 20 + 15 * (label // 3)
        path = folder / f"class{label}" / f"{i:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse).resize((pixels, pixels), Image.Resampling.BICUBIC).save(path, quality=90)


def in_a_lane(images: Path, size: int | None, epochs: int, width: int, cache: Path) -> dict[str, float]:
    """Seconds until the task is open, and until all trials have their epochs; trial-images that they trained on."""
    import torch

    from lab.schedules import OneCycle
    from lab.spec.exchange import Assignment
    from lab.spec.plan import Training
    from lab.spec.trial import Trial
    from lab.tasks.images.task import Images
    from lab.training.trainer import ModelTrainer

    torch.set_num_threads(os.cpu_count() or 1)
    begin = time.perf_counter()
    task = Images(str(images), size=size, flip=False)
    task.cache = cache
    trained_on = len(task.data("train")[0]) // BATCH * BATCH
    opened = time.perf_counter() - begin
    trainer = ModelTrainer(task, Training({"kind": "adamw"}, BATCH, path="stacked"), width, {})
    for slot in range(width):
        trainer.start(Assignment(slot, Trial({}, slot, epochs, own_schedule=OneCycle(max_lr=0.01)), slot, 0))
    for _ in range(epochs):
        trainer.epoch()
    return {"opened_s": opened, "s": time.perf_counter() - begin, "trial_images": width * epochs * trained_on}


def by_loaders(images: Path, size: int, epochs: int, width: int) -> dict[str, float]:
    """The same trials one after the other, each with its own loader."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    from lab.tasks.images.image_data import ImageData
    from lab.tasks.images.nets import small_cnn
    from lab.tasks.images.options import ImageOptions

    data = ImageData(ImageOptions(str(images), size=size))  # for the same rows alone
    rows = data.rows["train"]
    files = sorted(images.rglob("*.jpg"))
    names = sorted({file.parent.name for file in files})
    by_class = sorted(files, key=lambda file: (names.index(file.parent.name), file.name))

    class Photos(Dataset[Any]):
        def __len__(self) -> int:
            return len(rows)

        def __getitem__(self, index: int) -> Any:
            file = by_class[rows[index]]
            with Image.open(file) as image:
                pixels = np.asarray(image.convert("RGB").resize((size, size)), dtype=np.float32)
            return torch.from_numpy(pixels.transpose(2, 0, 1) / 127.5 - 1), names.index(file.parent.name)

    torch.set_num_threads(os.cpu_count() or 1)
    begin = time.perf_counter()
    for seed in range(width):
        torch.manual_seed(seed)
        model = small_cnn(3, CLASSES, 0.0)
        loader = DataLoader(Photos(), BATCH, shuffle=True, num_workers=os.cpu_count() or 1, drop_last=True)
        optimizer = torch.optim.AdamW(model.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, epochs * len(loader))
        for _ in range(epochs):
            for x, y in loader:
                loss = torch.nn.functional.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
    trained_on = len(rows) // BATCH * BATCH
    return {"s": time.perf_counter() - begin, "trial_images": width * epochs * trained_on}


def held(images: Path, cache: Path, mapped: bool) -> dict[str, float]:
    """MB that the process holds for itself at its peak, beyond what it held before the task was opened."""
    import torch

    from lab.spec.plan import Training
    from lab.tasks import mapped as of_tasks
    from lab.tasks.images.task import Images
    from lab.training.batches import open_splits

    if mapped:
        of_tasks._MOST = 0.0
    before, peak, over = _own_mb(), [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            peak[0] = max(peak[0], _own_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    task = Images(str(images), flip=False)
    task.cache = cache
    data = open_splits(task, torch.device("cpu"), Training({"kind": "adamw"}, BATCH))["train"]
    orders = torch.stack([torch.randperm(len(data), generator=torch.Generator().manual_seed(i)) for i in range(2)])
    through = sum(float(task.model_input(x).mean()) for x, _ in data.batches(orders, BATCH))
    over.set()
    watcher.join()
    return {"peak_mb": peak[0] - before, "mean": through}


def _own_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024


def run_part(part: str, images: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """One measurement, in this process."""
    with tempfile.TemporaryDirectory() as cache:
        if part == "lab":
            return in_a_lane(images, arguments.size, arguments.epochs, arguments.width, Path(cache))
        if part == "loaders":
            return by_loaders(images, arguments.size, arguments.epochs, arguments.width)
        return held(images, Path(cache), part == "in a file")


def page(by_part: dict[str, list[dict[str, float]]], arguments: argparse.Namespace) -> str:
    """The report."""
    a = arguments
    ours, theirs = by_part["lab"], by_part["loaders"]
    ratios = [their["s"] / our["s"] for our, their in zip(ours, theirs, strict=True)]
    pixels_mb = a.images * a.pixels**2 * 3 / 1e6

    def pace(runs: list[dict[str, float]]) -> str:
        return f"{statistics.median(run['trial_images'] / run['s'] for run in runs):,.0f}"

    def peak(part: str) -> str:
        return f"{statistics.median(run['peak_mb'] for run in by_part[part]):,.0f}"

    return f"""# Images decoded once for all trials

Made by `studies/benchmarks/streams.py`: {a.images} JPEGs of {a.pixels} pixels brought to {a.size}, small_cnn, batches
of {BATCH}, {a.width} trials of {a.epochs} epochs, {a.runs} runs. {listed(versions("lab", "torch", "numpy", "pillow"))};
{machine()}.

| | trial-images a second | of which until the images are decoded, s |
|---|---|---|
| a lane of {a.width} trials | {pace(ours)} | {statistics.median(run["opened_s"] for run in ours):.1f} |
| {a.width} loaders, one after the other | {pace(theirs)} | |

Ratio of times, loaders to lane: {median_and_span(ratios)}.

| peak memory of a lane on the same images at full size ({pixels_mb:,.0f} MB of pixels) | MB |
|---|---|
| in memory as a whole | {peak("in memory")} |
| in a file, as from a quarter of the memory on | {peak("in a file")} |
"""


def main() -> None:
    """Every part in turn, run by run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--pixels", type=int, default=256)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(run_part(arguments.part, arguments.folder, arguments)))
        return
    by_part: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), arguments.images, arguments.pixels)
        for run in range(arguments.runs):
            for part in ("lab", "loaders", "in memory", "in a file"):
                command = [sys.executable, __file__, *sys.argv[1:], "--part", part, "--folder", folder]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                by_part.setdefault(part, []).append(json.loads(done.stdout.splitlines()[-1]))
                print(run, part, by_part[part][-1], flush=True)
    keep(
        arguments.out,
        {"settings": {k: str(v) for k, v in vars(arguments).items()}, **by_part},
        page(by_part, arguments),
    )


if __name__ == "__main__":
    main()
