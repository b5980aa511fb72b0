"""Detects collapsed models, and suggests settings to change."""

from air_tf.evaluation.evaluation import Evaluation

# True counts with fewer images give no warning.
_MIN_IMAGES = 20
# Before this training step, warnings would be premature.
WARM_UP_STEPS = 900
# Share of the objects that the ground draws, and of pixels that objects cover, from
# which on one has taken over from the other.
_MAX_GROUND_SHARE, _MAX_COVERAGE = 0.5, 0.8


def diagnose(evaluation: Evaluation) -> list[str]:
    """Detects collapses: constant counts, counts never inferred, dark reconstructions,
    and grounds that draw objects or objects that draw the ground.

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
    on_black = evaluation.background == "black"
    only = [n for n, images in enumerate(histogram) if images == sum(histogram)]
    if only == [0] and not _always(confusion, 0):
        warnings.append(
            "Every image is counted 0. Try a larger `count_decay`, a smaller "
            f"`likelihood_scale` or another `seed`. {_EMPTY[on_black]}"
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
            f"The reconstruction is worse than an empty canvas. {_WORSE[on_black]} a "
            "smaller `learning_rate` or more `steps`."
        )
    return warnings + _ground_warnings(evaluation)


_EMPTY = {
    True: "Objects must be bright on a dark background; others need a `background`.",
    False: "If the ground alone explains the pictures, try fewer `ground_waves` or "
    "`background` constant.",
}
_WORSE = {
    True: "Objects must be bright on a dark background; others need a `background`. "
    "Otherwise try",
    False: "Try",
}


def _ground_warnings(evaluation: Evaluation) -> list[str]:
    """Warnings of a ground that draws objects, and of objects that draw the ground."""
    warnings = []
    share, covered = evaluation.ground_share, evaluation.object_coverage
    if share is not None and share > _MAX_GROUND_SHARE:
        warnings.append(
            f"The ground draws {share:.0%} of the objects' contrast itself. Try a "
            "smaller `ground_tolerance`, fewer `ground_waves` or `background` constant."
        )
    if covered is not None and covered > _MAX_COVERAGE:
        warnings.append(
            f"Objects cover {covered:.0%} of the pictures, so they draw the ground, "
            "too. Try a smaller `count_decay`, a `background` that can draw it, or "
            "another `seed`."
        )
    return warnings


def _missed_counts(confusion: list[list[int]]) -> list[str]:
    """Warnings of true counts that are inferred wrong in most of their images."""
    warnings = []
    for n, row in enumerate(confusion):
        images, mode = sum(row), max(range(len(row)), key=row.__getitem__)
        correct = row[n] if n < len(row) else 0
        if images >= _MIN_IMAGES and correct < images / 2:
            objects = "1 object" if n == 1 else f"{n} objects"
            warnings.append(
                f"Of the images with {objects}, {correct / images:.0%} are counted "
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
