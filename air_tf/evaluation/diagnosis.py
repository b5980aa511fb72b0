"""Detects collapsed models, and suggests settings to change."""

from air_tf.evaluation.evaluation import Evaluation

# True counts with fewer images give no warning.
_MIN_IMAGES = 20
# Before this training step, warnings would be premature.
WARM_UP_STEPS = 900


def diagnose(evaluation: Evaluation) -> list[str]:
    """Detects collapses: constant counts, counts never inferred, dark reconstructions.

    Args:
      evaluation: of held-out images.

    Returns:
      A warning for each collapse, with settings to try, which are named in backticks;
      empty if there is none.
    """
    warnings = []
    histogram = evaluation.num_objects_histogram
    confusion = evaluation.count_confusion
    most = len(histogram) - 1
    only = [n for n, images in enumerate(histogram) if images == sum(histogram)]
    if only == [0] and not _always(confusion, 0):
        warnings.append(
            "Every image is counted 0. Try a larger `count_decay`, a smaller "
            "`likelihood_scale` or another `seed`. Objects must be bright on a dark "
            "background."
        )
    if only == [most] and not _always(confusion, most):
        warnings.append(
            f"Every image is counted {most}, the maximum. If images hold that many "
            "objects or more, raise `max_objects`; otherwise try a smaller "
            "`count_decay` or a smaller `learning_rate`."
        )
    if len(only) != 1:
        warnings += _missed_counts(confusion or [])
    if evaluation.reconstruction_error > evaluation.empty_canvas_error:
        warnings.append(
            "The reconstruction is worse than an empty canvas. Objects must be bright "
            "on a dark background: invert pictures of dark objects. Otherwise try a "
            "smaller `learning_rate` or more `steps`."
        )
    return warnings


def _missed_counts(confusion: list[list[int]]) -> list[str]:
    """Warnings of true counts that are inferred wrong in most of their images."""
    warnings = []
    for n, row in enumerate(confusion):
        images, mode = sum(row), max(range(len(row)), key=row.__getitem__)
        correct = row[n] if n < len(row) else 0
        if images >= _MIN_IMAGES and correct < images / 2:
            warnings.append(
                f"Of the images with {n} objects, {correct / images:.0%} are counted "
                f"correctly; most are counted {mode}. Try more `steps` or another "
                "`seed`; if too many objects are counted, a smaller `count_decay`; if "
                "too few, check that `max_objects` is large enough."
            )
    return warnings


def _always(confusion: list[list[int]] | None, count: int) -> bool:
    """Whether all true counts are known and equal `count`."""
    if confusion is None:
        return False
    return all(not any(row) for n, row in enumerate(confusion) if n != count)
