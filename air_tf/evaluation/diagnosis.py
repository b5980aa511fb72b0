"""Says in plain words when a model has not learnt what it should."""

from collections.abc import Mapping
from typing import Any

# Of so many images of a known count at least, half should be counted right.
_MIN_IMAGES = 20
# Before, a model that counts nothing may still be on its way.
WARM_UP_STEPS = 900


def diagnose(result: Mapping[str, Any]) -> list[str]:
    """Looks for collapses in what `evaluate` returned.

    Args:
      result: of held-out images.

    Returns:
      A sentence or two for each collapse, with what to try; empty if none.
    """
    warnings = []
    histogram = result["num_objects_histogram"]
    steps = len(histogram) - 1
    only = [n for n, images in enumerate(histogram) if images == sum(histogram)]
    true_counts = result["count_confusion"]
    if only == [0] and not _always(true_counts, 0):
        warnings.append(
            "Every image is counted 0: objects cost more than they explain. Try a "
            "larger --count_decay, a smaller --likelihood_scale, or another --seed; "
            "objects must be bright on a dark ground."
        )
    if only == [steps] and not _always(true_counts, steps):
        warnings.append(
            f"Every image is counted {steps}, the most possible: either there are "
            "that many objects or more (raise --max_objects), or extra objects "
            "cost too little (try a smaller --count_decay or a smaller "
            "--learning_rate)."
        )
    if len(only) != 1:
        warnings += _missed_counts(true_counts or [])
    if result["reconstruction_error"] > result["empty_canvas_error"]:
        warnings.append(
            "The reconstruction is worse than an empty canvas. Objects must be bright "
            "on a dark ground (invert pictures that are not); if they are, try a "
            "smaller --learning_rate or more --steps."
        )
    return warnings


def _missed_counts(confusion) -> list[str]:
    """Of known counts that are mostly counted as another."""
    warnings = []
    for n, row in enumerate(confusion):
        images, most = sum(row), max(range(len(row)), key=row.__getitem__)
        right = row[n] if n < len(row) else 0
        if images >= _MIN_IMAGES and right < images / 2:
            warnings.append(
                f"Of the images whose count is {n}, {right / images:.0%} are counted "
                f"right, most as {most}. Try more --steps, another --seed or, where "
                "too many are counted, a smaller --count_decay; --max_objects "
                "is the most that can be counted."
            )
    return warnings


def _always(confusion, count: int) -> bool:
    """Whether all true counts are known to be `count`."""
    if confusion is None:
        return False
    return all(not any(row) for n, row in enumerate(confusion) if n != count)
