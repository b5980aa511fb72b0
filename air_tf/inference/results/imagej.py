"""Objects as regions of interest that ImageJ opens (File > Open, or ROI Manager)."""

import collections
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from air_tf.extras import require_extra
from air_tf.files import replacing
from air_tf.inference.results.table import BOX

if TYPE_CHECKING:
    import roifile

# Of a path in ImageJ: begin a line, go on, close it.
_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0


def write_rois(
    path: str | os.PathLike, answer: dict[str, Any], labels: np.ndarray
) -> None:
    """Writes the outlines of objects to a ZIP file of ImageJ's regions.

    Args:
      path: of the file.
      answer: of `describe_picture`.
      labels: [H, W], the label image.

    Raises:
      InputError: if roifile is missing, of the extra `imagej`.
      OutputError: if writing fails.
    """
    require_extra("imagej")
    import roifile

    columns = [answer["objects"][name] for name in ("label", *BOX)]
    rois = []
    for label, ymin, xmin, ymax, xmax in zip(*columns, strict=True):
        inside = labels[ymin:ymax, xmin:xmax] == label
        lines = [line + np.array([xmin, ymin]) for line in outlines(inside)]
        rois.append(_roi(lines, name=str(label)))
    with replacing(path) as temporary:
        roifile.roiwrite(temporary, rois, mode="w")


def outlines(inside: np.ndarray) -> list[np.ndarray]:
    """The lines around a mask, along the borders of its pixels.

    Args:
      inside: [h, w] bool.

    Returns:
      The corners of each line, [n, 2], (x, y); pixel (0, 0) has corners from (0, 0) to
      (1, 1). Clockwise on a screen around pixels, the other way round holes.
    """
    padded = np.pad(inside, 1)
    ends = collections.defaultdict(list)
    # A side of a pixel, on its way round the pixel: the neighbour across it is at
    # (dy, dx), it begins and ends at these corners (x, y) of the pixel.
    for dy, dx, begin, end in (
        (-1, 0, (0, 0), (1, 0)),
        (0, 1, (1, 0), (1, 1)),
        (1, 0, (1, 1), (0, 1)),
        (0, -1, (0, 1), (0, 0)),
    ):
        outside = ~np.roll(padded, (-dy, -dx), axis=(0, 1))[1:-1, 1:-1]
        for x, y in np.argwhere((inside & outside).T).tolist():
            ends[x + begin[0], y + begin[1]].append((x + end[0], y + end[1]))
    lines = []
    while ends:
        corner = next(iter(ends))
        line = []
        # Where pixels touch at a corner, two sides begin; either choice closes.
        while corner in ends:
            line.append(corner)
            following = ends[corner].pop()
            if not ends[corner]:
                del ends[corner]
            corner = following
        lines.append(_without_straight(np.array(line)))
    return lines


def _without_straight(line: np.ndarray) -> np.ndarray:
    """Leaves out the points of a closed line where it goes straight on."""
    before, after = line - np.roll(line, 1, axis=0), np.roll(line, -1, axis=0) - line
    return line[(before != after).any(axis=1)]


def _roi(lines: list[np.ndarray], *, name: str) -> "roifile.ImagejRoi":
    """A polygon; a path, if there are holes or several parts."""
    import roifile

    roi = roifile.ImagejRoi.frompoints(np.concatenate(lines), name=name)
    roi.roitype = roifile.ROI_TYPE.TRACED
    if len(lines) > 1:
        path: list[float] = []
        for line in lines:
            for i, (x, y) in enumerate(line.tolist()):
                path += (_LINE if i else _MOVE, x, y)
            path.append(_CLOSE)
        roi.roitype = roifile.ROI_TYPE.RECT
        roi.integer_coordinates, roi.n_coordinates = None, 0
        roi.multi_coordinates = np.array(path, np.float32)
        roi.shape_roi_size = len(path)
    return roi
