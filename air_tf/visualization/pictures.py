"""Figures: reconstructions, generated scenes and training curves."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from air_tf.structs import Explanation, Scenes
from air_tf.visualization.drawing import draw_boxes, to_picture

_WRONG = "#d00000"


def side_by_side(
    images: np.ndarray, scenes: Scenes | Explanation, zoom: int = 3
) -> np.ndarray:
    """Images with inferred boxes, each to the left of its reconstruction.

    Args:
      images: [N, H, W, C], uint8 or float in [0, 1].
      scenes: what was inferred in these images.
      zoom: factor by which height and width are enlarged.

    Returns:
      [N, zoom * H, 2 * zoom * W, 3] uint8.
    """
    pairs = []
    for i, image in enumerate(images):
        boxes = scenes.boxes[i, : scenes.num_objects[i]]
        pairs.append(
            np.concatenate(
                [
                    np.asarray(draw_boxes(to_picture(image, zoom), boxes)),
                    np.asarray(to_picture(scenes.canvas[i], zoom)),
                ],
                axis=1,
            )
        )
    return np.stack(pairs)


def save_reconstructions(
    path: str | os.PathLike,
    images: np.ndarray,
    scenes: Scenes | Explanation,
    counts: np.ndarray | None = None,
    names: Sequence[str] | None = None,
) -> None:
    """Writes the figure of `reconstructions` to a PNG file.

    Args:
      path: of the file.
      images: see `reconstructions`.
      scenes: see `reconstructions`.
      counts: see `reconstructions`.
      names: see `reconstructions`.
    """
    figure = reconstructions(images, scenes, counts, names)
    figure.savefig(path, format="png", dpi=100)


def reconstructions(
    images: np.ndarray,
    scenes: Scenes | Explanation,
    counts: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    columns: int = 8,
) -> Figure:
    """A figure of images with inferred boxes, each above its reconstruction.

    The title of an image is its inferred count. Wrong counts are marked in red.

    Args:
      images: [N, H, W, C], uint8 or float in [0, 1].
      scenes: what was inferred in these images.
      counts: [N] true counts, if known.
      names: [N] names, which are put before the counts in the titles.
      columns: number of images in a row.
    """
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(1.4 * columns, 3.2 * rows), layout="constrained")
    axes = figure.subplots(2 * rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for i, image in enumerate(images):
        row, column = divmod(i, columns)
        above, below = axes[2 * row, column], axes[2 * row + 1, column]
        inferred = int(scenes.num_objects[i])
        boxes = scenes.boxes[i, :inferred]
        above.imshow(draw_boxes(to_picture(image, 4), boxes))
        below.imshow(to_picture(scenes.canvas[i], 4))
        title, colour = f"{inferred}", "black"
        if counts is not None and inferred != counts[i]:
            title, colour = f"{inferred}, not {counts[i]}", _WRONG
            for axis in (above, below):
                axis.axis("on")
                axis.set(xticks=[], yticks=[])
                for spine in axis.spines.values():
                    spine.set(color=_WRONG, linewidth=3)
        if names is not None:
            title = f"{names[i]}: {title}"
        above.set_title(title, fontsize=9, color=colour)
    figure.suptitle(
        "Inferred count; image with boxes, coloured by attend step (red, green, blue, "
        "...), above its reconstruction",
        fontsize=9,
    )
    return figure


def save_samples(
    path: str | os.PathLike, rows: Mapping[str, np.ndarray], title: str
) -> None:
    """Writes a figure with labelled rows of scenes to a PNG file.

    Args:
      path: of the file.
      rows: canvases [N, H, W, C] by the label of their row; N is the same for all.
      title: of the figure.
    """
    columns = max(len(canvases) for canvases in rows.values())
    figure = Figure(figsize=(1.2 * columns, 1.3 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, (label, canvases) in zip(axes, rows.items(), strict=True):
        for axis, canvas in zip(line, canvases, strict=True):
            axis.imshow(to_picture(canvas, 4))
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(label, fontsize=9)
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, format="png", dpi=100)


def save_grid(
    path: str | os.PathLike, canvases: np.ndarray, title: str, columns: int = 8
) -> None:
    """Writes a figure with a grid of scenes to a PNG file.

    Args:
      path: of the file.
      canvases: [N, H, W, C].
      title: of the figure.
      columns: number of scenes in a row.
    """
    rows = -(-len(canvases) // columns)
    figure = Figure(figsize=(1.2 * columns, 1.25 * rows + 0.4), layout="constrained")
    for i, axis in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axis.set(xticks=[], yticks=[])
        if i < len(canvases):
            axis.imshow(to_picture(canvases[i], 4))
        else:
            axis.axis("off")
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, format="png", dpi=100)


def save_training_curve(
    path: str | os.PathLike, rows: Sequence[Mapping[str, float | None]]
) -> None:
    """Writes a figure of the ELBO and the count accuracy over training to a PNG file.

    Without true counts, the mean inferred count replaces the accuracy.

    Args:
      path: of the file.
      rows: of metrics.csv, see `RunDir.read_metrics_csv`.
    """
    steps = [row["step"] for row in rows]
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(steps, [row["elbo"] for row in rows], label="training")
    left.plot(steps, [row["val_elbo"] for row in rows], label="held-out")
    left.set(xlabel="training step", ylabel="ELBO (nats per image)")
    left.legend()
    if rows and rows[0]["val_count_accuracy"] is not None:
        right.plot(steps, [row["val_count_accuracy"] for row in rows], "C1")
        right.set(ylabel="held-out count accuracy", ylim=(0, 1.02))
    else:
        right.plot(steps, [row["val_mean_num_objects"] for row in rows], "C1")
        right.set(ylabel="held-out mean inferred count")
    right.set(xlabel="training step")
    for axis in (left, right):
        axis.grid(alpha=0.3)
    figure.savefig(path, format="png", dpi=100)
