"""Draws the chart of docs/performance.md: `python -m tests.bench.chart measured.json chart.svg`."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot

from tests.bench.page import GIGABYTE, size_name
from tests.bench.peers import PEERS
from tests.bench.ratios import typical

BAR = 0.8
BLUES = ("#9ecae1", "#4292c6", "#08519c", "#08306b")


def draw(measured: Mapping[str, Any], file: Path) -> None:
    """Draw a bar for what a GB takes each peer at each size."""
    # The same figures give the same bytes, and text stays text.
    matplotlib.rcParams |= {"svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 9}
    peers, sizes = measured["peers"], measured["sizes"]
    figure, axes = pyplot.subplots(figsize=(8, 0.5 + 0.75 * len(peers)), layout="constrained")
    height = BAR / len(sizes)
    for place, megabytes in enumerate(sizes):
        costs = {
            number: seconds * GIGABYTE / megabytes
            for number, name in enumerate(peers)
            if (seconds := typical(measured["runs"], name, megabytes)) is not None
        }
        bars = axes.barh(
            [number + (place + 0.5) * height - BAR / 2 for number in costs],
            list(costs.values()),
            height=height,
            color=BLUES[place % len(BLUES)],
            label=size_name(megabytes),
        )
        axes.bar_label(bars, fmt="%.0f", padding=3)
    axes.set_yticks(range(len(peers)), [PEERS[name].title for name in peers])
    axes.invert_yaxis()
    axes.set_xlabel("seconds a GB, median of the rounds: shorter is faster")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper right", frameon=False)
    figure.savefig(file, metadata={"Date": None})


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
