"""What the search benchmark's lines say: mean regret, and mean rank with a bootstrap interval over the tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measured import write_figure
from numpy.typing import NDArray
from scipy.stats import rankdata

from lab.record.folder import write_bytes

Floats = NDArray[np.float64]
RULES = ("observed", "recommended")


@dataclass(frozen=True)
class Row:
    """Regret of both incumbents of one run after so many evaluations; seconds per ask until then."""

    table: str
    method: str
    seed: int
    evaluations: int
    observed: float
    recommended: float
    ask_seconds: float


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Per rule and number of evaluations: each method's mean regret per table, mean rank, and its interval."""
    budget = max(row.evaluations for row in rows)
    points = sorted({row.evaluations for row in rows})
    return {
        "budget": budget,
        "ask_seconds": _ask_seconds([row for row in rows if row.evaluations == budget]),
        "rules": {
            rule: {str(point): _at([row for row in rows if row.evaluations == point], rule) for point in points}
            for rule in RULES
        },
    }


def _ask_seconds(rows: Sequence[Row]) -> dict[str, float]:
    by_method: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        by_method[row.method].append(row.ask_seconds)
    return {method: float(np.mean(seconds)) for method, seconds in by_method.items()}


def _at(rows: Sequence[Row], rule: str) -> dict[str, Any]:
    regret: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        regret[row.table][row.method][row.seed] = getattr(row, rule)
    means = {
        table: {m: float(np.mean(list(s.values()))) for m, s in by_method.items()}
        for table, by_method in regret.items()
    }
    return {"regret": means, "rank": _ranks(regret)}


def _ranks(regret: Mapping[str, Mapping[str, Mapping[int, float]]]) -> dict[str, dict[str, float]]:
    """Mean rank of the methods that ran on every table, with a 95 % bootstrap interval over tables and their seeds."""
    methods = sorted(set.intersection(*(set(by_method) for by_method in regret.values())))
    per_table: list[Floats] = []
    for by_method in regret.values():
        seeds = sorted(set.intersection(*(set(by_method[m]) for m in methods)))
        if seeds:
            per_table.append(np.stack([rankdata([round(by_method[m][s], 9) for m in methods]) for s in seeds]))
    if not per_table:
        return {}
    mean = np.mean([ranks.mean(axis=0) for ranks in per_table], axis=0)
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(1000):
        tables = rng.integers(len(per_table), size=len(per_table))
        drawn = [per_table[t][rng.integers(len(per_table[t]), size=len(per_table[t]))].mean(axis=0) for t in tables]
        draws.append(np.mean(drawn, axis=0))
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    return {
        method: {"mean": float(mean[i]), "low": float(low[i]), "high": float(high[i])}
        for i, method in enumerate(methods)
    }


def write_readme(path: Path, summary: Mapping[str, Any]) -> None:
    """The summary as tables."""
    budget = summary["budget"]
    lines = ["# Search methods on recorded trainings", ""]
    lines += [f"Made by `studies/benchmarks/search.py`: {summary['seeds']} seeds, up to {budget} full evaluations. "]
    lines += ["Versions: " + ", ".join(f"{k} {v}" for k, v in summary["versions"].items()) + ".", ""]
    for rule, points in summary["rules"].items():
        shown = [p for p in points if int(p) in {budget // 4, budget // 2, budget}]
        methods = list(points[shown[-1]]["rank"])
        lines += [f"## Incumbent: {rule}", "", "Mean rank with its 95 % bootstrap interval, after so many evaluations:"]
        lines += ["", "| evaluations | " + " | ".join(methods) + " |", "|---" * (len(methods) + 1) + "|"]
        for point in shown:
            rank = points[point]["rank"]
            cells = [f"{rank[m]['mean']:.2f} ({rank[m]['low']:.2f}-{rank[m]['high']:.2f})" for m in methods]
            lines.append(f"| {point} | " + " | ".join(cells) + " |")
        every = sorted({m for point in shown for by_method in points[point]["regret"].values() for m in by_method})
        lines += ["", f"Mean regret after {' / '.join(shown)} evaluations:", ""]
        lines += ["| table | " + " | ".join(every) + " |", "|---" * (len(every) + 1) + "|"]
        for table in sorted(points[shown[-1]]["regret"]):
            cells = [" / ".join(_cell(points[p]["regret"].get(table, {}).get(m)) for p in shown) for m in every]
            lines.append(f"| {table} | " + " | ".join(cells) + " |")
        lines.append("")
    lines += ["## Seconds per proposal", ""]
    lines += [f"- {method}: {seconds:.3f}" for method, seconds in sorted(summary["ask_seconds"].items())]
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def _cell(regret: float | None) -> str:
    return "-" if regret is None else f"{regret:.3f}"


def write_plot(path: Path, rows: Sequence[Row]) -> None:
    """Mean regret over the evaluations, one panel per rule, all tables of a method pooled."""
    from plotly.subplots import make_subplots

    figure = make_subplots(1, 2, subplot_titles=[f"incumbent: {rule}" for rule in RULES], shared_yaxes=True)
    palette = ("#2a6fb0", "#d1603d", "#3b8f5a", "#8a5fa8", "#b8902f", "#666666")
    everywhere = len({row.table for row in rows})
    for index, method in enumerate(sorted({row.method for row in rows})):
        tables = len({row.table for row in rows if row.method == method})
        for column, rule in enumerate(RULES, start=1):
            by_point: dict[int, list[float]] = defaultdict(list)
            for row in rows:
                if row.method == method:
                    by_point[row.evaluations].append(getattr(row, rule))
            points = sorted(by_point)
            figure.add_scatter(
                x=points,
                y=[float(np.mean(by_point[p])) for p in points],
                name=method if tables == everywhere else f"{method} ({tables} tables)",
                legendgroup=method,
                showlegend=column == 1,
                line={"color": palette[index % len(palette)]},
                row=1,
                col=column,
            )
    figure.update_yaxes(type="log", tickvals=[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1], tickformat="~g")
    figure.update_yaxes(title_text="mean normalised regret", col=1)
    figure.update_xaxes(title_text="evaluations")
    margin = {"t": 40, "b": 50, "l": 60, "r": 20}
    figure.update_layout(template="plotly_white", width=1000, height=420, margin=margin)
    write_figure(path, figure)
