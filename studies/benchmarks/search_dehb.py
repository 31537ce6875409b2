"""DEHB as a process that is asked and told in lines of JSON; run by `search.py` with an interpreter that has it.

Imports nothing of the project, whose versions DEHB does not share.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time

from search_smac import config_space


def main() -> None:
    """Read the space, then answer every cost with the next point and its epochs."""
    from dehb import DEHB  # type: ignore[import-not-found, unused-ignore]

    talk = sys.stdout
    sys.stdout = sys.stderr
    asked = json.loads(sys.stdin.readline())
    space = config_space(asked["space"], asked["seed"])
    with tempfile.TemporaryDirectory() as folder:
        dehb = DEHB(
            cs=space,
            min_fidelity=1,
            max_fidelity=asked["epochs"],
            eta=3,
            n_workers=1,
            seed=asked["seed"],
            output_path=folder,
            log_level="ERROR",
        )
        while True:
            begin = time.perf_counter()
            job = dehb.ask()
            seconds = time.perf_counter() - begin
            params = {k: v.item() if hasattr(v, "item") else v for k, v in dict(job["config"]).items()}
            epochs = max(round(float(job["fidelity"])), 1)
            with contextlib.suppress(BrokenPipeError):  # the budget is spent, and nobody asks any more
                talk.write(json.dumps({"params": params, "epochs": epochs, "seconds": seconds}) + "\n")
                talk.flush()
            line = sys.stdin.readline()
            if not line:
                return
            dehb.tell(job, {"fitness": json.loads(line), "cost": float(epochs)})


if __name__ == "__main__":
    main()
