"""Draws what `peers.py` has measured: a table in Markdown, printed and written, and a plot.

    .venv/bin/python benchmarks/serving/report.py FOLDER

Every figure is the median over the rounds; ratios are ratios of those medians.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from chart import draw

Row = dict[str, Any]


def main() -> None:
    """Write `table.md` and `plot.png` beside `results.json`, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    results = json.loads((folder / "results.json").read_text())
    loads, ceilings = summarise_loads(results), summarise_ceilings(results)
    parts = [_head(results), _loads(loads), _starts(results), _ceilings(ceilings)]
    text = "\n\n".join(parts)
    (folder / "table.md").write_text(text + "\n")
    draw([row for row in loads if row["texts"] == 1], ceilings, folder / "plot.png")
    print(text)


def summarise_loads(results: Row) -> list[Row]:
    """Return a row a service and kind of load: medians, and ratios to the best peer, the engine and the processor."""
    ceilings = {row["precision"]: row for row in summarise_ceilings(results)}
    rows: list[Row] = []
    for (name, clients, texts), group in _grouped(results["loads"], "service", "clients", "texts"):
        service = results["services"][name]
        ceiling = ceilings[service["precision"]]
        row = {"service": name, "clients": clients, "texts": texts, "is_peer": service["is_peer"]}
        row |= {key: _median(group, key) for key in ("rate", "p50_ms", "p95_ms", "p99_ms", "processor_ms")}
        row |= {"of_engine": row["rate"] / ceiling["rate"], "of_peak": row["rate"] / ceiling["possible"]}
        rows.append(row)
    for row in rows:
        rivals = [each for each in rows if each["is_peer"] and _load(each) == _load(row)]
        row["of_best_rate"] = row["rate"] / max(each["rate"] for each in rivals) if rivals else None
        row["of_best_p50"] = row["p50_ms"] / min(each["p50_ms"] for each in rivals) if rivals else None
    return sorted(rows, key=lambda row: (row["texts"], row["clients"]))


def summarise_ceilings(results: Row) -> list[Row]:
    """Return a row a precision: the engine alone, the processor's peak, and the statements that it would allow."""
    rounds = results["ceilings"]
    rows = []
    for precision in rounds[0]["engines"]:
        peak = median(each["peaks"][precision] for each in rounds)
        engines = [each["engines"][precision] for each in rounds]
        possible = peak / rounds[0]["operations"]
        rate = _median(engines, "rate")
        row = {"precision": precision, "peak": peak, "possible": possible, "rate": rate}
        rows.append(row | {"one_ms": _median(engines, "one_ms"), "of_peak": rate / possible})
    return rows


def _load(row: Row) -> tuple[int, int]:
    return row["clients"], row["texts"]


def _grouped(rows: Iterable[Row], *keys: str) -> list[tuple[tuple[Any, ...], list[Row]]]:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return sorted(groups.items())


def _median(rows: Sequence[Row], key: str) -> float:
    return median(row[key] for row in rows)


def _head(results: Row) -> str:
    return (
        f"The encoder of `{results['model']}`, the same weights for all: the peers in float32 through torch, Brink in "
        "float32 and in int8, as it ships. The heads differ: the peers' has a layer more over one token of each text.\n"
        f"{results['statements']:,} statements of {results['tokens']:.0f} tokens in the mean. Medians of "
        f"{results['rounds']} rounds "
        f"of {results['seconds']:g} s a figure. Load generator and service share the processors.\n\n"
        f"Machine: {results['machine']}."
    )


def _loads(rows: list[Row]) -> str:
    columns: dict[str, Callable[[Row], str]] = {
        "clients": lambda row: (
            f"{row['clients']}" if row["texts"] == 1 else f"{row['clients']} x {row['texts']:,} texts"
        ),
        "service": lambda row: row["service"],
        "statements/s": lambda row: f"{row['rate']:.1f}",
        "x best peer": lambda row: _ratio(row["of_best_rate"]),
        "of the engine alone": lambda row: "" if row["is_peer"] else f"{row['of_engine']:.0%}",
        "of the peak": lambda row: f"{row['of_peak']:.0%}",
        "p50, ms": lambda row: f"{row['p50_ms']:.0f}",
        "p95": lambda row: f"{row['p95_ms']:.0f}",
        "p99": lambda row: f"{row['p99_ms']:.0f}",
        "p50, x best peer": lambda row: _ratio(row["of_best_p50"]),
        "processor ms a statement": lambda row: f"{row['processor_ms']:.1f}",
    }
    return _table(columns, rows)


def _starts(results: Row) -> str:
    rows: list[Row] = [
        {"service": name} | {key: _median(group, key) for key in ("s", "processor_s", "ready_mb", "loaded_mb")}
        for (name,), group in _grouped(results["starts"], "service")
    ]
    rivals = [row for row in rows if results["services"][row["service"]]["is_peer"]]
    for row in rows:
        for key in ("s", "loaded_mb"):
            row[f"of_best_{key}"] = row[key] / min(each[key] for each in rivals) if rivals else None
    columns: dict[str, Callable[[Row], str]] = {
        "service": lambda row: row["service"],
        "start to first answer, s": lambda row: f"{row['s']:.1f}",
        "x quickest peer": lambda row: _ratio(row["of_best_s"]),
        "processor s of that": lambda row: f"{row['processor_s']:.1f}",
        "memory when ready, MB": lambda row: f"{row['ready_mb']:.0f}",
        "after the load": lambda row: f"{row['loaded_mb']:.0f}",
        "x smallest peer": lambda row: _ratio(row["of_best_loaded_mb"]),
    }
    return _table(columns, rows)


def _ceilings(rows: list[Row]) -> str:
    columns: dict[str, Callable[[Row], str]] = {
        "ceiling": lambda row: row["precision"],
        "peak of one product of matrices, Gop/s": lambda row: f"{row['peak'] / 1e9:.0f}",
        "statements/s that it would allow": lambda row: f"{row['possible']:.0f}",
        "engine alone, statements/s": lambda row: f"{row['rate']:.1f}",
        "of the peak": lambda row: f"{row['of_peak']:.0%}",
        "one statement, ms": lambda row: f"{row['one_ms']:.1f}",
    }
    return _table(columns, rows)


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _table(columns: dict[str, Callable[[Row], str]], rows: Iterable[Row]) -> str:
    lines = [list(columns), ["---"] * len(columns), *([show(row) for show in columns.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
