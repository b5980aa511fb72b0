"""Tables and a picture of what methods find in real pictures."""

import csv
import pathlib
import statistics
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from air_tf.files import replacing
from benchmarks.tables import markdown_table, optional
from studies.real_pictures.classical import stretch
from studies.real_pictures.compare import Row
from studies.real_pictures.measure import Pictures

_COLUMNS = {
    "count error": "{:.2f}",
    "relative": "{:.1%}",
    "bias": "{:+.2f}",
    "exact": "{:.1%}",
    "F1 of boxes": "{:.3f}",
    "F1 of masks": "{:.3f}",
    "precision": "{:.3f}",
    "recall": "{:.3f}",
    "ms": "{:.0f}",
    "CPU ms": "{:.0f}",
}
_NEIGHBOURS = ("0", "1", "2", "3 or more")


def save_results(folder: pathlib.Path, rows: Sequence[Row], test: Pictures) -> str:
    """Writes real_pictures.md, .csv and .png, and returns the first one's text."""
    text = format_results(rows)
    with replacing(folder / "real_pictures.md") as path:
        path.write_text(text, encoding="utf-8")
    with (
        replacing(folder / "real_pictures.csv") as path,
        path.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["method", "seed", *_COLUMNS, *map(_recall_name, _NEIGHBOURS)])
        for row in rows:
            writer.writerow([row.name, row.seed, *_cells(row), *_recalls(row)])
    with replacing(folder / "real_pictures.png") as path:
        save_examples(path, rows, test)
    return text


def format_results(rows: Sequence[Row]) -> str:
    """Markdown tables: of all methods, and by touching neighbours.

    Of methods with seeds, the worst one by the F1 of boxes, and the mean of all.
    """
    table, neighbours = [], []
    for group in _by_method(rows):
        worst = min(group, key=lambda row: row.figures.score.boxes.f1 or 0.0)
        name = worst.name
        if worst.seed is not None:
            name += f", worst of {len(group)} seeds"
        table.append([name, *_texts(_cells(worst))])
        neighbours.append([name, *(optional(x, ".1%", "-") for x in _recalls(worst))])
        if len(group) > 1:
            columns = zip(*map(_cells, group), strict=True)
            means = [statistics.mean(x or 0.0 for x in column) for column in columns]
            table.append([f"{worst.name}, mean", *_texts(means)])
    true = rows[0].figures.score.by_neighbours[:, 0]
    parts = [
        markdown_table(["method", *_COLUMNS], table),
        "Share of the nuclei found, by box, by the number of others that they touch:",
        markdown_table(
            [
                "method",
                *(f"{k} ({n:,})" for k, n in zip(_NEIGHBOURS, true, strict=True)),
            ],
            neighbours,
        ),
        "\n".join(_describe(row) for row in rows),
    ]
    return "\n\n".join(parts) + "\n"


def save_examples(path: pathlib.Path, rows: Sequence[Row], test: Pictures) -> None:
    """The best, the median and the worst picture of the last method, outlined.

    Columns are the truth, the last method (its worst seed) and the best other one.
    """
    *others, group = _by_method(rows)
    shown = min(group, key=lambda row: row.figures.score.boxes.f1 or 0.0)
    found = [shown]
    if others:
        best = max(
            (row for one in others for row in one),
            key=lambda row: row.figures.score.boxes.f1 or 0.0,
        )
        found.append(best)
    order = np.argsort(shown.figures.f1_of_pictures, kind="stable")
    chosen = {"best": order[-1], "typical": order[len(order) // 2], "worst": order[0]}
    height, width = test.images.shape[1:]
    columns = 1 + len(found)
    figure = Figure(
        figsize=(4 * columns, 4 * 3 * height / width + 0.6), layout="constrained"
    )
    axes = figure.subplots(3, columns, squeeze=False)
    for line, (name, i) in zip(axes, chosen.items(), strict=True):
        parts = [("truth", test.labels[i])]
        for row in found:
            f1 = row.figures.f1_of_pictures[i]
            parts.append((f"{row.name}, F1 {f1:.2f}", row.labels[i]))
        for axis, (title, labels) in zip(line, parts, strict=True):
            axis.imshow(stretch(test.images[i]) ** 0.5, cmap="gray", vmin=0, vmax=1)
            axis.contour(_edges(labels), [0.5], colors="tab:orange", linewidths=0.7)
            axis.set_title(f"{name}: {title}, {len(np.unique(labels)) - 1}", size=9)
            axis.set_axis_off()
    figure.savefig(path, format="png", dpi=110)


def _edges(labels: np.ndarray) -> np.ndarray:
    """1 inside objects and 0 on the ground and where two objects meet."""
    padded = np.pad(labels, 1, mode="edge")
    same = (padded[2:, 1:-1] == labels) & (padded[1:-1, 2:] == labels)
    return ((labels > 0) & same).astype(np.float32)


def _by_method(rows: Sequence[Row]) -> list[list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.name, []).append(row)
    return list(groups.values())


def _cells(row: Row) -> list[float | None]:
    counts, boxes = row.figures.counts, row.figures.score.boxes
    return [
        counts.mean_absolute,
        counts.relative,
        counts.bias,
        counts.exact,
        boxes.f1,
        row.figures.score.masks.f1,
        boxes.precision,
        boxes.recall,
        1e3 * row.details["seconds"],
        1e3 * row.details["cpu_seconds"],
    ]


def _texts(cells: Sequence[float | None]) -> list[str]:
    return [
        "-" if cell is None else form.format(cell)
        for cell, form in zip(cells, _COLUMNS.values(), strict=True)
    ]


def _recalls(row: Row) -> list[float | None]:
    """The share of true objects found by box, for each of `_NEIGHBOURS`."""
    return [
        float(boxes / true) if true else None
        for true, boxes, _ in row.figures.score.by_neighbours
    ]


def _recall_name(neighbours: str) -> str:
    return f"recall, touching {neighbours}"


def _describe(row: Row) -> str:
    """A line on how the method was set."""
    if row.seed is not None:
        return (
            f"- {row.name}, seed {row.seed}: trained without labels in "
            f"{row.details['training_seconds']:.0f} s"
        )
    settings = ", ".join(f"{k} {v:g}" for k, v in row.details["settings"].items())
    edge = row.details["at_edge"]
    note = f"; at the edge of what was tried: {', '.join(edge)}" if edge else ""
    return f"- {row.name}: {settings}{note}"
