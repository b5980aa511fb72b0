"""Joins objects between which a picture has no valley. Imports no TensorFlow."""

import numpy as np


def joined(labels: np.ndarray, picture: np.ndarray, *, depth: int) -> np.ndarray:
    """Makes neighbours one that lie on the same hill.

    A valley's depth is the difference between the lower of two summits and the highest
    pass between them. Those with the shallowest valleys are joined first.

    Args:
      labels: [H, W] int32, 0 for the ground, 1 ... N.
      picture: [H, W] uint8, with the hills.
      depth: of a valley that separates nothing, at most.

    Returns:
      [N + 1] int32, for each label that of the object it belongs to: the largest of
      those that are joined. 0 stays 0.
    """
    areas = np.bincount(labels.ravel())
    summits = np.zeros(len(areas), int)
    inside = labels > 0
    np.maximum.at(summits, labels[inside], picture[inside])
    pairs, passes = _passes(labels, picture)
    depths = summits[pairs].min(axis=1) - passes
    owner = np.arange(len(areas))

    def hill(label: int) -> int:
        while owner[label] != label:
            label = int(owner[label])
        return label

    for i in np.argsort(depths, kind="stable"):
        one, other = (hill(label) for label in pairs[i].tolist())
        # The summits are those of all that was joined so far.
        if one == other or min(summits[one], summits[other]) - passes[i] > depth:
            continue
        if areas[one] < areas[other]:
            one, other = other, one
        owner[other] = one
        areas[one] += areas[other]
        summits[one] = max(summits[one], summits[other])
    return np.array([hill(label) for label in range(len(owner))], np.int32)


def _passes(labels: np.ndarray, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of neighbouring objects, [P, 2], and the height of the pass between the two
    of each, [P] int."""
    pairs, heights = [], []
    # Neighbours in a column, then in a row.
    for lines, values in ((labels, picture), (labels.T, picture.T)):
        first, second = lines[:-1], lines[1:]
        touch = (first != second) & (first > 0) & (second > 0)
        pairs.append(np.stack([first[touch], second[touch]], axis=1))
        heights.append(np.minimum(values[:-1], values[1:])[touch])
    found, index = np.unique(
        np.sort(np.concatenate(pairs), axis=1), axis=0, return_inverse=True
    )
    passes = np.zeros(len(found), int)
    np.maximum.at(passes, index.ravel(), np.concatenate(heights))
    return found, passes
