"""Grows labels over a picture from bright to dark: a watershed without scikit-image,
which devices do not have."""

import heapq

import numpy as np


def flood(labels: np.ndarray, picture: np.ndarray, *, above: int) -> np.ndarray:
    """Grows labels to neighbouring pixels, brighter ones first (Meyer 1991).

    Each pixel beyond the labels takes some microseconds.

    Args:
      labels: [H, W] int32, 0 where there is none.
      picture: [H, W] uint8.
      above: pixels that are not brighter than this get no label.

    Returns:
      [H, W] int32: what was labelled still is.
    """
    wide = np.pad(labels, 1)
    width = wide.shape[1]
    grown = wide.ravel()
    # Pixels beyond the border are black, so none of them gets a label.
    bright = np.pad(picture, 1).ravel()
    free = (grown == 0) & (bright > above)
    steps = (-width, -1, 1, width)
    labelled = np.flatnonzero(grown)
    at_edge = np.zeros(len(labelled), bool)
    for step in steps:
        at_edge |= free[labelled + step]
    # Of pixels to be labelled: brightest first, then in the order in which they came.
    queue: list[tuple[int, int, int, int]] = []
    order = 0

    def add_neighbours(place: int, label: int) -> None:
        nonlocal order
        for step in steps:
            around = place + step
            if free[around]:
                free[around] = False
                order += 1
                heapq.heappush(queue, (-int(bright[around]), order, around, label))

    for place in labelled[at_edge].tolist():
        add_neighbours(place, int(grown[place]))
    while queue:
        _, _, place, label = heapq.heappop(queue)
        grown[place] = label
        add_neighbours(place, label)
    return np.ascontiguousarray(wide[1:-1, 1:-1])
