"""A picture of the import graph: packages as boxes, layers as rows, arrows from the importer down to the imported."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from imports import Graph, Module, group_graph, import_graph, read_layers, read_modules
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

EVERYWHERE = ("errors", "typing")  # imported by nearly all: their arrows are left out
COLUMNS, BOX_WIDTH, BOX_HEIGHT = 12, 2.5, 0.5
DESCENTS = 12
COLORS = {"SPRCore": "#dbe8f6", "SPRRegistrationLib": "#fbe5cf", "SPRExplorer": "#ddefd9"}
INK, FAINT = "#3b4a5a", "#d5dce4"
LEGEND = {"boxstyle": "round,pad=0.4", "edgecolor": INK}
ROWS = {
    12: "faces of the panel:\n3D Slicer and browser",
    11: "the panel, without Qt",
    10: "command line",
    9: "Python interface",
    8: "tuning, live sliders",
    7: "training, reports",
    6: "solvers",
    5: "networks",
    4: "files, metrics, phantoms",
    3: "terms of the energy",
    2: "volumes and units",
    1: "tensors, plain values",
    0: "vocabulary",
}


def direct(graph: Graph) -> set[tuple[str, str]]:
    """Imports that no chain of others implies."""

    def below(name: str) -> set[str]:
        return {deeper for target in graph[name] for deeper in (target, *below(target))}

    return {
        (name, target)
        for name, targets in graph.items()
        for target in targets
        if not any(target in below(other) for other in targets - {target})
    }


def crossed(start: tuple[int, int], end: tuple[int, int], boxes: Iterable[tuple[int, int]]) -> int:
    """Boxes between two rows that a straight arrow runs through."""
    (x, y), (to_x, to_y) = start, end
    slope = (to_x - x) / (to_y - y)
    reach = BOX_WIDTH / 2 + 0.1 + BOX_HEIGHT / 2 * abs(slope)
    return sum(to_y < row < y and abs(x + slope * (row - y) - column) < reach for column, row in boxes)


def cost(columns: Mapping[str, int], layers: Mapping[str, int], arrows: set[tuple[str, str]]) -> float:
    """What an arrangement costs: arrows through boxes, arrows that cross, and width of the arrows."""
    boxes = [(columns[name], layers[name]) for name in columns]
    lines = [((columns[a], layers[a]), (columns[b], layers[b])) for a, b in sorted(arrows)]
    total = sum(20 * crossed(*line, boxes) + abs(line[0][0] - line[1][0]) for line in lines)
    for (start, end), (other, other_end) in itertools.combinations(lines, 2):
        if start[1] == other[1] and end[1] == other_end[1]:
            total += 6 * ((start[0] - other[0]) * (end[0] - other_end[0]) < 0)
    return total + 0.2 * sum(abs(column - COLUMNS // 2) for column in columns.values())


def arrange(layers: Mapping[str, int], arrows: set[tuple[str, str]], descents: int) -> dict[str, int]:
    """Column of each box: the best of several descents from random arrangements, always the same ones."""
    rows = {layer: sorted(name for name in layers if layers[name] == layer) for layer in set(layers.values())}
    slots = range(1, COLUMNS - 1, 3)
    choose = random.Random(0)
    found = []
    for _ in range(descents):
        start = {
            n: column for row in rows.values() for n, column in zip(row, choose.sample(slots, len(row)), strict=True)
        }
        found.append(descend(start, layers, arrows))
    return min(found, key=lambda columns: cost(columns, layers, arrows))


def descend(columns: dict[str, int], layers: Mapping[str, int], arrows: set[tuple[str, str]]) -> dict[str, int]:
    """Move or swap boxes of a row, one at a time, while that lowers the cost."""

    def options() -> Iterator[dict[str, int]]:
        for name in sorted(columns):
            same = [other for other in columns if layers[other] == layers[name] and other != name]
            for column in range(COLUMNS):
                if all(abs(columns[other] - column) >= 3 for other in same):
                    yield columns | {name: column}
            for other in same:
                yield columns | {name: columns[other], other: columns[name]}

    lowest = cost(columns, layers, arrows)
    while True:
        best = min(options(), key=lambda option: cost(option, layers, arrows))
        if (value := cost(best, layers, arrows)) >= lowest:
            return columns
        columns, lowest = best, value


def draw_boxes(axes: Axes, columns: Mapping[str, int], layers: Mapping[str, int], modules: list[Module]) -> None:
    """A box for each package, with its files and lines."""
    files = Counter(module.group for module in modules)
    lines = Counter[str]()
    for module in modules:
        lines[module.group] += len(module.text.splitlines())
    for name, column in columns.items():
        package = name.split(".")[0] if name.startswith("SPR") else "SPRCore"
        corner = (column - BOX_WIDTH / 2, layers[name] - BOX_HEIGHT / 2)
        style = {"boxstyle": "round,pad=0,rounding_size=0.1", "facecolor": COLORS[package], "edgecolor": INK}
        axes.add_patch(FancyBboxPatch(corner, BOX_WIDTH, BOX_HEIGHT, linewidth=0.9, zorder=3, **style))
        axes.text(column, layers[name] + 0.1, name, ha="center", va="center", fontsize=10, weight="bold", zorder=4)
        size = f"{files[name]} file{'s' * (files[name] > 1)}, {lines[name]:,} lines"
        axes.text(column, layers[name] - 0.14, size, ha="center", va="center", fontsize=8, color=INK, zorder=4)


def draw_arrows(axes: Axes, graph: Graph, columns: Mapping[str, int], layers: Mapping[str, int]) -> None:
    """Arrows from lower to upper edges, side by side in the order of their other ends."""
    dark = direct(graph)
    for arrows, color, width, order in (
        ({(a, b) for a in graph for b in graph[a]} - dark, FAINT, 0.5, 1),
        (dark, INK, 1.1, 2),
    ):
        for name, target in sorted(arrows):
            outgoing = sorted((columns[b], layers[b], b) for a, b in arrows if a == name)
            incoming = sorted((columns[a], layers[a], a) for a, b in arrows if b == target)
            start = columns[name] + shift([n for *_, n in outgoing].index(target), len(outgoing))
            end = columns[target] + shift([n for *_, n in incoming].index(name), len(incoming))
            ends = (start, layers[name] - BOX_HEIGHT / 2), (end, layers[target] + BOX_HEIGHT / 2)
            style = {"arrowstyle": "-|>", "mutation_scale": 8 * width + 1, "shrinkA": 0, "shrinkB": 0}
            axes.add_patch(FancyArrowPatch(*ends, color=color, linewidth=width, zorder=order, **style))


def shift(index: int, count: int) -> float:
    """Offset of one of several arrow ends from the middle of a box."""
    return 0.8 * BOX_WIDTH * ((index + 0.5) / count - 0.5)


def draw(path: Path, descents: int = DESCENTS) -> None:
    """Draw the packages of the working tree into a PNG."""
    modules, layers = read_modules(), read_layers()
    graph = group_graph(modules, import_graph(modules))
    graph = {name: targets - {"SPRCore", *EVERYWHERE} for name, targets in graph.items() if name != "SPRCore"}
    columns = arrange(layers, direct(graph), descents)
    figure = Figure(figsize=(13, 12))
    axes = figure.add_axes((0.005, 0.005, 0.99, 0.99))
    draw_arrows(axes, graph, columns, layers)
    draw_boxes(axes, columns, layers, [module for module in modules.values() if module.name != "SPRCore"])
    for layer, title in ROWS.items():
        axes.axhspan(layer - 0.5, layer + 0.5, color="#f6f8fa" if layer % 2 else "white", zorder=0)
        axes.text(-3.6, layer, f"{layer}", ha="right", va="center", fontsize=9, color=INK)
        axes.text(-3.4, layer, title, ha="left", va="center", fontsize=9, color=INK)
    note = (
        "An arrow points from a package to one that it imports. Faint arrows follow from chains of dark ones. "
        f"Left out: arrows to {' and '.join(EVERYWHERE)}, which nearly all import."
    )
    for index, (package, color) in enumerate(COLORS.items()):
        axes.text(
            (-3.6, -2.3, 0.2)[index],
            12.75,
            package,
            fontsize=10,
            weight="bold",
            va="center",
            bbox=LEGEND | {"facecolor": color},
        )
    axes.text(-3.9, -0.75, note, fontsize=9, color=INK, va="center")
    axes.set(xlim=(-4, COLUMNS + 0.5), ylim=(-1, max(ROWS) + 1))
    axes.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, metadata={"Software": None})
