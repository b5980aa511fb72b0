"""Figures: reconstructions, generated scenes and training curves."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from air_tf.structs import Explanation, Scenes
from air_tf.visualization.drawing import draw_boxes, to_picture

_WRONG = "#d00000"
_ZOOM = 4


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
    pairs, titles, wrong = [], [], []
    for i, image in enumerate(images):
        inferred = int(scenes.num_objects[i])
        boxes = scenes.boxes[i, :inferred]
        above = draw_boxes(to_picture(image, _ZOOM), boxes)
        pairs.append((above, to_picture(scenes.canvas[i], _ZOOM)))
        title = f"{inferred}"
        if counts is not None and inferred != counts[i]:
            title = f"{inferred}, not {counts[i]}"
            wrong.append(i)
        titles.append(title if names is None else f"{names[i]}: {title}")
    parts = [pairs[i : i + columns] for i in range(0, len(pairs), columns)]
    lines = [[pair[k] for pair in part] for part in parts for k in (0, 1)]
    width, height = pairs[0][0].size
    # Space for the titles.
    gap = max(width, height) // 4
    figure = Figure(figsize=(1.4 * columns, 3.2 * len(parts)), layout="constrained")
    axis = _show(figure, lines, columns, gap)
    for i, title in enumerate(titles):
        row, column = divmod(i, columns)
        left, top = column * (width + gap), 2 * row * (height + gap)
        colour = "black"
        if i in wrong:
            colour = _WRONG
            for y in (top, top + height + gap):
                frame = Rectangle((left, y), width, height, fill=False)
                frame.set(edgecolor=_WRONG, linewidth=3)
                axis.add_patch(frame)
        middle = left + width / 2
        axis.text(middle, top - gap / 8, title, color=colour, fontsize=9, ha="center")
    figure.suptitle(
        "Inferred count; image with boxes, coloured by attend step (red, green, blue, "
        "...), above its reconstruction",
        fontsize=9,
    )
    return figure


def _show(
    figure: Figure, rows: Sequence[Sequence[Image.Image]], columns: int, gap: int
) -> Axes:
    """Shows pictures of one size in rows, as one: axes of their own take their time.

    Args:
      figure: to show them in.
      rows: at most `columns` pictures each.
      columns: number of pictures that the figure has room for.
      gap: white pixels above each row and between the pictures of a row.

    Returns:
      The axes. Their units are pixels of the pictures, and the first picture begins at
      (0, 0), below a gap.
    """
    width, height = rows[0][0].size
    size = (columns * (width + gap) - gap, len(rows) * (height + gap))
    sheet = Image.new("RGB", size, "white")
    for row, line in enumerate(rows):
        for column, picture in enumerate(line):
            sheet.paste(picture, (column * (width + gap), row * (height + gap) + gap))
    axis = figure.subplots()
    axis.imshow(sheet, extent=(0, size[0], size[1] - gap, -gap))
    axis.axis("off")
    return axis


def save_samples(
    path: str | os.PathLike, rows: Mapping[str, np.ndarray], title: str
) -> None:
    """Writes a figure with labelled rows of scenes to a PNG file.

    Args:
      path: of the file.
      rows: canvases [N, H, W, C] by the label of their row; N is the same for all.
      title: of the figure.
    """
    lines = [_pictures(canvases) for canvases in rows.values()]
    columns = len(lines[0])
    figure = Figure(figsize=(1.2 * columns, 1.3 * len(rows)), layout="constrained")
    gap, height = _gap(lines), lines[0][0].height
    axis = _show(figure, lines, columns, gap)
    for row, label in enumerate(rows):
        middle = row * (height + gap) + height / 2
        text = axis.text(-gap, middle, label, rotation=90, fontsize=9)
        text.set(ha="right", va="center")
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, format="png", dpi=100)


def _pictures(canvases: np.ndarray) -> list[Image.Image]:
    return [to_picture(canvas, _ZOOM) for canvas in canvases]


def _gap(rows: Sequence[Sequence[Image.Image]]) -> int:
    return max(rows[0][0].size) // 12


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
    shown = _pictures(canvases)
    lines = [shown[i : i + columns] for i in range(0, len(shown), columns)]
    size = (1.2 * columns, 1.25 * len(lines) + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    _show(figure, lines, columns, _gap(lines))
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
