"""The plot of `report.py`: statements a second and latency of each service, by how many clients ask."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

_COLOURS = {"int8": "#0b4f8a", "float32": "#4a9bd9"}
_PEER_COLOURS = ("#9a9a9a", "#c98a3d", "#7a5a9a")
_WIDTH = 0.8

Row = dict[str, Any]


def draw(loads: list[Row], ceilings: list[Row], target: Path) -> None:
    """Write the plot of rows and ceilings as `report.py` summarises them."""
    figure, (above, below) = pyplot.subplots(2, 1, figsize=(9, 8), layout="constrained", sharex=True)
    services = sorted({row["service"]: row["is_peer"] for row in loads}.items(), key=lambda each: (each[1], each[0]))
    clients = sorted({row["clients"] for row in loads})
    peers = iter(_PEER_COLOURS)
    for rank, (name, is_peer) in enumerate(services):
        colour = next(peers) if is_peer else _COLOURS[name.rpartition(" ")[2]]
        rows = {row["clients"]: row for row in loads if row["service"] == name}
        places = [clients.index(each) + _WIDTH * ((rank + 0.5) / len(services) - 0.5) for each in rows]
        bars = above.bar(
            places, [row["rate"] for row in rows.values()], _WIDTH / len(services), color=colour, label=name
        )
        above.bar_label(bars, fmt="%.0f", fontsize=7)
        _latencies(below, places, list(rows.values()), colour)
    for row in ceilings:
        colour = _COLOURS[row["precision"]]
        above.axhline(row["rate"], color=colour, linestyle="--", linewidth=1)
        above.annotate(
            f"engine alone, {row['precision']}", (1, row["rate"]), xycoords=("axes fraction", "data"), color=colour,
            fontsize=8, ha="right", va="bottom",
        )  # fmt: skip
    above.set_ylabel("statements a second")
    above.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
    above.set_ylim(top=1.35 * max([row["rate"] for row in loads + ceilings]))
    below.set_yscale("log")
    below.set_ylabel("latency, ms: p50 to p99, p95 marked")
    below.set_xlabel("clients, one text a request")
    below.set_xticks(range(len(clients)), [str(each) for each in clients])
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25)
        axes.set_axisbelow(True)
    figure.savefig(target, dpi=130)


def _latencies(axes: Axes, places: list[float], rows: list[Row], colour: str) -> None:
    axes.vlines(places, [row["p50_ms"] for row in rows], [row["p99_ms"] for row in rows], color=colour, linewidth=4)
    axes.scatter(places, [row["p50_ms"] for row in rows], color=colour, s=36, zorder=3)
    axes.scatter(places, [row["p95_ms"] for row in rows], color="white", edgecolors=colour, s=18, zorder=4)
