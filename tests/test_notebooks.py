"""The notebooks of the manual run as they are, and are kept without what they once gave."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

from tests.small import ROOT, environment

NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_outputs(path: Path) -> None:
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")  # of its sockets
def test_every_notebook_runs(tmp_path: Path) -> None:
    assert len(NOTEBOOKS) >= 3
    kernel = KernelManager(kernel_name="python3")  # one for all of them: to import torch takes as long as a notebook
    env = environment() | {
        "OMP_NUM_THREADS": "1",
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "jupyter"),
        "TMPDIR": str(tmp_path),
    }
    kernel.start_kernel(cwd=str(tmp_path), env=env)
    try:
        for path in NOTEBOOKS:
            notebook = nbformat.read(path, as_version=4)
            notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
            client = NotebookClient(notebook, km=kernel, timeout=300)
            client.execute()
            client.kc.stop_channels()
            last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
            assert last.outputs, f"{path.name} ends with what it shows"
    finally:
        kernel.shutdown_kernel()
