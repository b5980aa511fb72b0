"""Grows labels over a picture from bright to dark: a watershed without scikit-image,
which devices do not have."""

import heapq

import numpy as np


def grow(cores: np.ndarray, picture: np.ndarray, *, above: int) -> np.ndarray:
    """Objects that grow from the middle of cores, and meet in valleys of the picture.

    So the picture decides what is between two: cores are blurred there. All pixels of a
    core become part of an object, but those that no object reaches.

    Args:
      cores: [H, W] int32, 0 where there is none.
      picture: [H, W] uint8.
      above: see `flood`; pixels of cores may be darker.

    Returns:
      [H, W] int32.
    """
    hills = np.where(cores > 0, np.maximum(picture, above + 1), picture)
    return flood(deepest(cores), hills, above=above)


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


def deepest(labels: np.ndarray) -> np.ndarray:
    """Leaves of each label the pixels that are most steps from any other, [H, W] int32.

    Steps go along rows and columns.

    Args:
      labels: [H, W] int32, 0 where there is none.
    """
    depth = np.zeros(labels.shape, np.int32)
    inside = labels
    while inside.any():
        depth += inside > 0
        wide = np.pad(inside, 1)
        around = (wide[:-2, 1:-1], wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:])
        stays = np.logical_and.reduce([other == inside for other in around])
        inside = np.where(stays, inside, 0)
    largest = np.zeros(labels.max(initial=0) + 1, np.int32)
    np.maximum.at(largest, labels, depth)
    return np.where(depth == largest[labels], labels, 0)
