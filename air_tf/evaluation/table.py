"""Formats an `Evaluation` as text tables."""

from typing import NamedTuple

from tabulate import tabulate

from air_tf.evaluation.evaluation import Evaluation


class Row(NamedTuple):
    """A formatted figure with its name."""

    name: str
    value: str
    level: int = 0  # of indentation: above 0, a detail of the row above


def table_rows(evaluation: Evaluation) -> list[Row]:
    """The rows of the table. The IWAE bound and the probe are optional."""
    e = evaluation
    rows = [
        Row("images", _number(e.num_images, ",d")),
        Row("count accuracy, most probable", _number(e.count_accuracy, ".2%")),
        Row("count accuracy, sampled", _number(e.count_accuracy_sampled, ".2%")),
        Row("mean absolute count error", _number(e.mean_abs_count_error, ".4f")),
        *_picture_rows(e),
        Row(
            "expected calibration error of q(n)",
            _number(e.expected_calibration_error, ".4f"),
        ),
        Row("mean inferred count", _number(e.mean_num_objects, ".3f")),
        Row(
            f"ELBO (nats per image, sigma {e.likelihood_scale:g}, p(n) "
            f"{e.count_prior})",
            _number(e.elbo, ".2f"),
        ),
        Row("log likelihood", _number(e.log_likelihood, ".2f"), 1),
        Row(
            "of a perfect reconstruction",
            _number(e.likelihood_constant, ".2f"),
            2,
        ),
        Row("- KL of the count", _number(e.kl_num_objects, ".2f"), 1),
        Row("- KL of z_where", _number(e.kl_where, ".2f"), 1),
        Row("- KL of z_what", _number(e.kl_what, ".2f"), 1),
    ]
    if e.kl_ground:
        rows.append(Row("- KL of the ground", _number(e.kl_ground, ".2f"), 1))
    if e.iwae is not None:
        name = f"IWAE bound, {e.num_samples} samples (nats per image)"
        rows.append(Row(name, _number(e.iwae, ".2f")))
    rows += [
        Row(
            "distance of generated counts to true ones",
            _number(e.generated_count_distance, ".4f"),
        ),
        Row("squared error per pixel", _number(e.reconstruction_error, ".5f")),
        Row("of an empty canvas", _number(e.empty_canvas_error, ".5f"), 1),
        *_ground_rows(e),
        *(
            Row(f"after attend step {step}", _number(error, ".5f"), 1)
            for step, error in enumerate(e.reconstruction_error_by_step or [])
            if step > 0
        ),
        Row("mean IoU of boxes", _number(e.mean_iou, ".3f")),
        Row("AP at IoU 0.5", _number(e.ap_50, ".3f")),
        Row("AP, mean of IoU 0.5 to 0.95", _number(e.ap_50_95, ".3f")),
        Row(
            "foreground ARI, images with two objects or more",
            _number(e.foreground_ari, ".3f"),
        ),
    ]
    if e.kind_accuracy is not None:
        rows += [
            Row("objects found with their kind", _number(e.kind_accuracy, ".2%")),
            Row(
                "position error, share of the table's width, median",
                _number(e.position_error, ".2%"),
            ),
            Row("mean", _number(e.position_error_mean, ".2%"), 1),
        ]
        rows += [
            Row(f"yaw error of {kind}, degrees, median", _number(error, ".1f"))
            for kind, error in (e.yaw_error or {}).items()
        ]
    if e.probe_accuracy is not None:
        rows += [
            Row("label accuracy of a linear probe", _number(e.probe_accuracy, ".2%")),
            Row("from pixels", _number(e.probe_accuracy_pixels, ".2%"), 1),
        ]
    return rows


def _picture_rows(e: Evaluation) -> list[Row]:
    if e.num_counted_pictures is None:
        return []
    name = f"mean absolute count error of {e.num_counted_pictures} whole pictures"
    return [
        Row(name, _number(e.picture_count_error, ".2f")),
        Row("mean of count - known count", _number(e.picture_count_bias, "+.2f"), 1),
    ]


def _ground_rows(e: Evaluation) -> list[Row]:
    if e.background == "black":
        return []
    return [
        Row("pixels covered by objects", _number(e.object_coverage, ".1%")),
        Row(
            "share of the objects that the ground draws", _number(e.ground_share, ".1%")
        ),
    ]


def _number(value: float | None, form: str) -> str:
    return "unavailable" if value is None else format(value, form)


def format_table(evaluation: Evaluation) -> str:
    """A table of the figures, then the confusion matrices of the count."""
    figures = [
        (2 * row.level * " " + row.name, row.value) for row in table_rows(evaluation)
    ]
    tables = [
        tabulate(
            figures,
            tablefmt="plain",
            colalign=("left", "right"),
            disable_numparse=True,
            preserve_whitespace=True,
        )
    ]
    for name, confusion in (
        ("most probable", evaluation.count_confusion),
        ("sampled", evaluation.count_confusion_sampled),
    ):
        if confusion is not None:
            tables.append(
                tabulate(
                    [[n, *row] for n, row in enumerate(confusion)],
                    headers=[f"true count | {name}", *range(len(confusion[0]))],
                    tablefmt="plain",
                )
            )
    return "\n\n".join(tables)
