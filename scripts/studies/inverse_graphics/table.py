"""The table and the plot of the study: accuracy over milliseconds for an image."""

import pathlib
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from benchmarks.tables import markdown_table, optional

_FIGURES = {
    "kind_accuracy": "objects found with their kind",
    "count_accuracy": "images with the right count",
}
_SEARCH = "optimisation"


def format_inverse_graphics(result: Mapping[str, Any]) -> str:
    """A Markdown table with a row for every method, and what it says.

    Args:
      result: what `compare_inference` returns.
    """
    rows = _rows(result)
    unit = rows["AIR3D"]["milliseconds"]
    headers = ["method", "right count", "right kind", "position error", "yaw error"]
    headers += ["ms per image", "times AIR3D"]
    cells = [
        [
            name,
            f"{row['count_accuracy']:.1%}",
            f"{row['kind_accuracy']:.1%}",
            optional(row["position_error"], ".2%"),
            ", ".join(f"{kind} {e:.1f}°" for kind, e in row["yaw_error"].items()),
            f"{row['milliseconds']:.3g}",
            f"{row['milliseconds'] / unit:.3g}",
        ]
        for name, row in rows.items()
    ]
    settings, tried = result["settings"], result["learning_rates"]
    machine = ", ".join(f"{name} {value}" for name, value in result["machine"].items())
    return (
        f"# {result['dataset']}: networks that invert the renderer, and optimisation\n"
        f"\n{markdown_table(headers, cells)}\n\n"
        f"{_equal_accuracy(result)}\n\n"
        f"{result['num_images']} test images of up to {result['most_objects']} "
        "objects; times are medians, one image at a time where nothing else is said. "
        "Right kind: share of true objects that are found with their kind. Position "
        "error: median, relative to the table's width. Yaw error: median of those "
        "found with their kind. Optimisation: "
        f"{settings['optimisation_steps']} steps of Adam from each start, with the "
        f"learning rates {tried[0]['position']:g} for positions and "
        f"{tried[0]['phase']:g} for phases, the best of {len(tried)} pairs on "
        f"{settings['num_validation_images']} validation images. Machine: {machine}.\n"
    )


def _rows(result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The rows of networks, then those of the starts that are asked for."""
    searches = [search_name(starts) for starts in result["settings"]["starts"]]
    networks = [name for name in result["rows"] if not name.startswith(_SEARCH)]
    return {name: result["rows"][name] for name in networks + searches}


def _equal_accuracy(result: Mapping[str, Any]) -> str:
    """The number of starts that optimisation needs to be as good as the network."""
    rows = result["rows"]
    wanted, unit = (rows["AIR3D"][name] for name in ("kind_accuracy", "milliseconds"))
    text = f"AIR3D's share of right kinds, {wanted:.1%}, "
    for starts in result["settings"]["starts"]:
        row = rows[search_name(starts)]
        if row["kind_accuracy"] >= wanted:
            ratio = row["milliseconds"] / unit
            times = f"which takes {ratio:.3g} times as long"
            return f"{text}is reached by {search_name(starts)}, {times}."
    return f"{text}is not reached by optimisation with up to {starts} starts."


def search_name(starts: int) -> str:
    """The row of the optimisation with that many starts."""
    return f"{_SEARCH}, {starts} start{'s' if starts > 1 else ''}"


def save_plot(path: pathlib.Path, result: Mapping[str, Any]) -> None:
    """Writes a PNG file: accuracies over milliseconds for an image."""
    rows = _rows(result)
    searches = [search_name(starts) for starts in result["settings"]["starts"]]
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    for axis, (field, text) in zip(
        figure.subplots(1, len(_FIGURES), sharey=True), _FIGURES.items(), strict=True
    ):
        points = [(rows[name]["milliseconds"], rows[name][field]) for name in searches]
        axis.plot(*zip(*points, strict=True), "o-", label="optimisation, by starts")
        for starts, point in zip(result["settings"]["starts"], points, strict=True):
            axis.annotate(str(starts), point, xytext=(0, 6), textcoords="offset points")
        for name, row in rows.items():
            if name not in searches:
                marker = "s" if name.startswith("AIR3D") else "^"
                axis.plot(row["milliseconds"], row[field], marker, label=name)
        axis.set(
            xscale="log",
            ylim=(0, 1.02),
            xlabel="milliseconds for an image",
            ylabel=f"share of {text}",
        )
        axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(path, format="png", dpi=100)
