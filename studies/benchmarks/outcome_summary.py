"""What the cells of `outcome.py` say together: paired differences between what is handed over and every other row.

Gain: of the metric, in points of a share that is maximized, in percent of what is minimized; above 0, what is handed
over is better. Loss: negative log-likelihood or mean squared error, as a change in percent; below 0, what is handed
over is better. Standard errors are over splits; over tasks every task has the same weight.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measured import listed, write_figure
from outcome_rows import DELIVERED, loss_of

from lab.record.folder import write_bytes

ALL = "all tasks"
MEASURES = ("gain", "loss")
_BETTER = {"gain": 1.0, "loss": -1.0}
"""The sign with which what is handed over is better."""
_LEAST = 1e-6
"""A loss, whose ratios are taken."""
_PALETTE = ("#2a6fb0", "#d1603d", "#3b8f5a", "#8a5fa8", "#b8902f", "#666666")


def read_cells(folder: Path) -> list[dict[str, Any]]:
    """The cells that lie in a folder."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def scores(cells: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Every row of every cell."""
    flat = []
    for cell in cells:
        for row in cell["rows"]:
            flat.append(
                {
                    "task": cell["task"],
                    "split": cell["split"],
                    "trials": cell["trials"],
                    "budget": cell.get("budget", 100),
                    "row": row["name"],
                    "metric": cell["metric"],
                    "direction": cell["direction"],
                    "test": row["test"].get(cell["metric"]),
                    "loss": loss_of(row["test"]),
                    "epochs": row["epochs"],
                    "own_epochs": row["own_epochs"],
                    "units": row["epochs"] / cell["unit"],
                    "failed": row["failed"],
                }
            )
    return pd.DataFrame(flat)


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """What is handed over against each other row of a cell: gain in points or percent, loss as a log ratio."""
    keys = ["task", "split", "trials"]
    mine = table.loc[table["row"] == DELIVERED, [*keys, "test", "loss"]]
    others = table[(table["row"] != DELIVERED) & (table["failed"] == "")]
    both = others.merge(mine, on=keys, suffixes=("", "_delivered"))
    gain, loss = [], []
    for test, delivered, direction, his, own in zip(
        both["test"], both["test_delivered"], both["direction"], both["loss"], both["loss_delivered"], strict=True
    ):
        gain.append(_gain(delivered, test, direction))
        loss.append(math.nan if _none(his, own) else math.log(max(own, _LEAST) / max(his, _LEAST)))
    return both[[*keys, "row", "units"]].assign(gain=gain, loss=loss)


def _none(*values: float | None) -> bool:
    return any(value is None or math.isnan(value) for value in values)


def _gain(delivered: float, other: float, direction: str) -> float:
    if _none(delivered, other):
        return math.nan
    if direction == "maximize":
        return 100 * (delivered - other)
    return 100 * (other - delivered) / abs(other) if other else math.nan


def summarise(pairs: pd.DataFrame) -> pd.DataFrame:
    """Means with standard errors by task and row, and over tasks; `worse` counts cells, `worse_tasks` the tasks in
    which what is handed over is worse by more than a standard error."""
    lines: list[dict[str, Any]] = []
    for row in pairs["row"].unique():
        of_row = pairs[pairs["row"] == row]
        per_task = [_of_task(str(task), str(row), of_row[of_row["task"] == task]) for task in of_row["task"].unique()]
        lines += [*per_task, _over_tasks(str(row), per_task)]
    return pd.DataFrame(lines)


def _of_task(task: str, row: str, pairs: pd.DataFrame) -> dict[str, Any]:
    line: dict[str, Any] = {"task": task, "row": row, "tasks": 1, "cells": len(pairs), "units": pairs["units"].mean()}
    for measure in MEASURES:
        values = pairs[measure].dropna().to_numpy(dtype=np.float64)
        mean = float(values.mean()) if len(values) else math.nan
        error = float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else math.nan
        line |= {measure: mean, f"{measure}_se": error}
        line[f"{measure}_worse"] = int((_BETTER[measure] * values < 0).sum())
        line[f"{measure}_worse_tasks"] = int(_BETTER[measure] * mean < -error)  # never where there is no error
    return line


def _over_tasks(row: str, per_task: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    line: dict[str, Any] = {"task": ALL, "row": row, "tasks": len(per_task)}
    line["cells"] = sum(one["cells"] for one in per_task)
    line["units"] = float(np.mean([one["units"] for one in per_task]))
    for measure in MEASURES:
        means, errors = (
            np.array([one[name] for one in per_task if not math.isnan(one[measure])])
            for name in (measure, f"{measure}_se")
        )
        line[measure] = float(means.mean()) if len(means) else math.nan
        line[f"{measure}_se"] = float(np.sqrt((errors**2).sum())) / len(errors) if len(errors) else math.nan
        for count in ("worse", "worse_tasks"):
            line[f"{measure}_{count}"] = sum(one[f"{measure}_{count}"] for one in per_task)
    return line


def percent(log_ratio: float) -> float:
    """A mean log ratio as a change in percent."""
    return 100 * math.expm1(log_ratio)


# -- in words --------------------------------------------------------------------------------------------------------


def write_summary(out: Path) -> None:
    """README.md, CSVs and figures of all cells that lie in `out`; prints the page."""
    cells, budgets = (read_cells(out / name) for name in ("cells", "budget_cells"))
    if not cells and not budgets:
        return
    lines = ["# Is what a study hands over worth its compute?", ""]
    lines += _provenance([*cells, *budgets])
    if cells:
        table = scores(cells)
        summary = summarise(differences(table))
        _write_csv(out / "scores.csv", table)
        _write_csv(out / "summary.csv", summary)
        write_figure(out / "outcome.png", figure(summary), width=1200, height=620)
        lines += _outcome_page(cells, table, summary)
    if budgets:
        table = scores(budgets)
        _write_csv(out / "budget_scores.csv", table)
        write_figure(out / "budgets.png", budget_figure(table), width=1200, height=420)
        lines += _budget_page(table)
    page = "\n".join(lines) + "\n"
    write_bytes(out / "README.md", page.encode())
    print(page)


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    write_bytes(path, table.to_csv(index=False, float_format="%.6g").encode())


def _provenance(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """By what and where the cells were made, each different answer once."""
    machines = dict.fromkeys(cell["machine"] for cell in cells)
    used = dict.fromkeys(listed(cell["versions"]) for cell in cells)
    commits = dict.fromkeys(str(cell["commit"])[:12] for cell in cells)
    settings = dict.fromkeys(json.dumps(cell["asked"]) for cell in cells)
    return [
        f"Made by `studies/benchmarks/outcome.py`, settings {' and '.join(settings)}. {' and '.join(used)}; commit "
        f"{', '.join(commits)}; {' and '.join(machines)}, one thread a cell.",
        "",
    ]


def _outcome_page(cells: Sequence[Mapping[str, Any]], table: pd.DataFrame, summary: pd.DataFrame) -> list[str]:
    tasks = list(dict.fromkeys(cell["task"] for cell in cells))
    rows = list(summary["row"].unique())
    lines = [
        f"{len(cells)} cells: {len(tasks)} tasks, each on {_span([_cells_of(cells, task) for task in tasks])} splits. "
        "Differences are paired: what is handed over against the row, on the test rows of the same split. Gain: of the "
        "metric, in points (in % where it is minimized); above 0, what is handed over is better. Loss: negative "
        "log-likelihood or mean squared error, in %; below 0, it is better. +- is the standard error over splits; over "
        "tasks each weighs the same. Worse: cells in which what is handed over is worse, and, in brackets, tasks in "
        "which it is by more than a standard error. Units: everything trained to get the row, its search included, in "
        "runs of the final length.",
        "",
        "No hero has the rate that the range test suggests, weight decay .01, dropout .1, and as many seeds as all the "
        "study's compute pays for, averaged. The tutorial searches the study's own space, with the range of max_lr "
        "that the study's range test has found. Baselines are trained on the rows that the models handed over were "
        "trained on.",
        "",
        f"## Over all tasks ({table.loc[table['row'] == DELIVERED, 'units'].mean():.0f} units handed over)",
        "",
        "| against | tasks | units | gain | worse | loss, % | worse |",
        "|---|---|---|---|---|---|---|",
    ]
    for _, line in summary[summary["task"] == ALL].iterrows():
        cells_worse = {m: f"{line[f'{m}_worse']} of {line['cells']} ({line[f'{m}_worse_tasks']})" for m in MEASURES}
        lines.append(
            f"| {line['row']} | {line['tasks']} | {line['units']:.1f} | {_gain_cell(line)} | {cells_worse['gain']} "
            f"| {_loss_cell(line)} | {cells_worse['loss']} |"
        )
    lines += ["", "![Differences over all tasks](outcome.png)", "", "## What was handed over", ""]
    lines += [
        "| task | metric | test | loss | units | train / valid / test | CPU s a cell |",
        "|---|---|---|---|---|---|---|",
    ]
    for task in tasks:
        mine = table[(table["task"] == task) & (table["row"] == DELIVERED)]
        of_task = [cell for cell in cells if cell["task"] == task]
        sizes = " / ".join(str(count) for count in of_task[0]["examples"].values())
        cpu_s = np.mean([cell["cpu_s"]["cell"] for cell in of_task])
        lines.append(
            f"| {task} | {of_task[0]['metric']} | {_plain(mine['test'])} | {_plain(mine['loss'])} "
            f"| {mine['units'].mean():.0f} | {sizes} | {cpu_s:.0f} |"
        )
    for title, cell_of in (("Gain by task", _gain_cell), ("Loss by task, %", _loss_cell)):
        lines += ["", f"## {title}", "", f"| against | {' | '.join(tasks)} |", "|---" * (len(tasks) + 1) + "|"]
        for row in rows:
            of_row = summary[summary["row"] == row].set_index("task")
            lines.append(
                f"| {row} | " + " | ".join(cell_of(of_row.loc[t]) if t in of_row.index else "-" for t in tasks) + " |"
            )
    failed = table[table["failed"] != ""]
    if len(failed):
        lines += ["", "## Failed", ""]
        lines += [f"- {r['task']}, split {r['split']}, {r['row']}: {r['failed']}" for _, r in failed.iterrows()]
    return [*lines, ""]


def _cells_of(cells: Sequence[Mapping[str, Any]], task: str) -> int:
    return sum(cell["task"] == task for cell in cells)


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _plain(values: pd.Series[float]) -> str:
    """Mean and standard deviation over splits."""
    spread = "" if len(values) < 2 else f" (sd {values.std():.2g})"
    return f"{values.mean():.4g}{spread}"


def _gain_cell(line: Mapping[str, Any] | pd.Series[Any]) -> str:
    return _with_error(float(line["gain"]), float(line["gain_se"]))


def _loss_cell(line: Mapping[str, Any] | pd.Series[Any]) -> str:
    mean, error = float(line["loss"]), float(line["loss_se"])
    return "-" if math.isnan(mean) else _with_error(percent(mean), 100 * math.exp(mean) * error, digits=1)


def _with_error(mean: float, error: float, digits: int = 2) -> str:
    if math.isnan(mean):
        return "-"
    return f"{mean:+.{digits}f}" + ("" if math.isnan(error) else f" +- {error:.{digits}f}")


def _budget_page(table: pd.DataFrame) -> list[str]:
    """Scores against compute, each method at the epochs of the study."""
    lines = [
        "## Scores against compute",
        "",
        "Whole studies within so many percent of their epochs (`--budget`). Optuna searches as long as what the study "
        "has trained pays for, three runs of the final length of its best setting included, which are averaged. Mean "
        "over splits +- standard error.",
        "",
        "| task | budget, % | method | units | metric | test | loss |",
        "|---|---|---|---|---|---|---|",
    ]
    ordered = table.sort_values(["task", "budget"], kind="stable")
    for (task, budget, row), mine in ordered.groupby(["task", "budget", "row"], sort=False):
        name = "lab" if row == DELIVERED else row
        test, loss = (_with_spread(mine[column]) for column in ("test", "loss"))
        lines.append(
            f"| {task} | {budget} | {name} | {mine['units'].mean():.0f} | {mine['metric'].iloc[0]} | {test} | {loss} |"
        )
    return [*lines, "", "![Loss against compute](budgets.png)", ""]


def _with_spread(values: pd.Series[float]) -> str:
    error = values.std() / len(values) ** 0.5 if len(values) > 1 else math.nan
    return f"{values.mean():.4g}" + ("" if math.isnan(error) else f" +- {error:.2g}")


# -- figures ---------------------------------------------------------------------------------------------------------


def figure(summary: pd.DataFrame) -> Any:
    """Gain and loss against each row: a dot per task, and the mean over tasks with its standard error."""
    from plotly.subplots import make_subplots

    titles = ("gain, points or % (right of 0: handed over is better)", "loss, % (left of 0: handed over is better)")
    shown = make_subplots(1, 2, subplot_titles=titles, shared_yaxes=True, horizontal_spacing=0.03)
    for column, measure in enumerate(MEASURES, start=1):
        for over, size, colour in ((False, 6, "rgba(42, 111, 176, 0.35)"), (True, 11, "#d1603d")):
            lines = summary[(summary["task"] == ALL) == over].dropna(subset=[measure])
            x, error = lines[measure], lines[f"{measure}_se"]
            if measure == "loss":
                x, error = x.map(percent), 100 * np.exp(x) * error
            shown.add_scatter(
                x=x,
                y=lines["row"],
                text=lines["task"],
                mode="markers",
                name="mean over tasks" if over else "a task",
                showlegend=column == 1,
                marker={"size": size, "color": colour},
                error_x={"type": "data", "array": error, "visible": over},
                row=1,
                col=column,
            )
    shown.add_vline(x=0, line={"color": "#666666", "width": 1})
    shown.update_yaxes(autorange="reversed")
    shown.update_layout(template="plotly_white", margin={"t": 50, "b": 40, "l": 260, "r": 20})
    return shown


def budget_figure(table: pd.DataFrame) -> Any:
    """Mean loss over the compute that it took, a panel per task, with standard errors over splits."""
    from plotly.subplots import make_subplots

    tasks = list(table["task"].unique())
    shown = make_subplots(1, len(tasks), subplot_titles=tasks)
    for column, task in enumerate(tasks, start=1):
        for row, colour in zip(table["row"].unique(), _PALETTE, strict=False):
            mine = table[(table["task"] == task) & (table["row"] == row)].groupby("budget")
            shown.add_scatter(
                x=mine["units"].mean(),
                y=mine["loss"].mean(),
                error_y={"type": "data", "array": mine["loss"].sem()},
                name="lab" if row == DELIVERED else row,
                legendgroup=row,
                showlegend=column == 1,
                line={"color": colour},
                row=1,
                col=column,
            )
    shown.update_xaxes(title_text="units of compute", type="log")
    shown.update_yaxes(title_text="test loss", col=1)
    shown.update_layout(template="plotly_white", margin={"t": 40, "b": 50, "l": 60, "r": 20})
    return shown
