"""Figures of `evaluate` as text."""

from typing import Any


def table_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values of the result of `evaluate` for people to read."""

    def number(value, form):
        return "unknown" if value is None else format(value, form)

    rows = [
        ("images", number(result["num_images"], ",d")),
        ("count accuracy, most probable", number(result["count_accuracy"], ".2%")),
        ("count accuracy, sampled", number(result["count_accuracy_sampled"], ".2%")),
        ("mean absolute count error", number(result["mean_abs_count_error"], ".4f")),
        (
            "expected calibration error of the count",
            number(result["expected_calibration_error"], ".4f"),
        ),
        ("mean inferred count", number(result["mean_num_objects"], ".3f")),
        (
            f"ELBO (nats, sigma {result['likelihood_scale']:g}, "
            f"p(n) {result['count_prior']})",
            number(result["elbo"], ".2f"),
        ),
        ("  log likelihood", number(result["log_likelihood"], ".2f")),
        (
            "    of an image without an error",
            number(result["likelihood_constant"], ".2f"),
        ),
        ("  - KL of the count", number(result["kl_num_objects"], ".2f")),
        ("  - KL of z_where", number(result["kl_where"], ".2f")),
        ("  - KL of z_what", number(result["kl_what"], ".2f")),
        (
            "distance of generated and true counts",
            number(result["generated_count_distance"], ".4f"),
        ),
        ("squared error of a pixel", number(result["reconstruction_error"], ".5f")),
        ("  of an empty canvas", number(result["empty_canvas_error"], ".5f")),
        ("mean IoU of boxes", number(result["mean_iou"], ".3f")),
        ("AP at IoU 0.5", number(result["ap_50"], ".3f")),
        ("AP, mean of IoU 0.5 to 0.95", number(result["ap_50_95"], ".3f")),
        (
            "ARI of pixels, two objects or more",
            number(result["foreground_ari"], ".3f"),
        ),
    ]
    by_step = result.get("reconstruction_error_by_step", [])
    if by_step:
        at = [name for name, _ in rows].index("  of an empty canvas")
        rows[at + 1 : at + 1] = [
            (f"  after step {step}", number(error, ".5f"))
            for step, error in enumerate(by_step[1:], 1)
        ]
    if result.get("probe_accuracy") is not None:
        rows += [
            (
                "labels by linear probe of z_what",
                number(result["probe_accuracy"], ".2%"),
            ),
            (
                "  of the same glimpses' pixels",
                number(result["probe_accuracy_pixels"], ".2%"),
            ),
        ]
    if "iwae" in result:
        label = f"IWAE bound, {result['num_samples']} samples (nats an image)"
        at = [name for name, _ in rows].index("distance of generated and true counts")
        rows.insert(at, (label, number(result["iwae"], ".2f")))
    return rows


def format_table(result: dict[str, Any]) -> str:
    """The result of `evaluate` as a table of text."""
    lines = [f"{name:<44}{value:>12}" for name, value in table_rows(result)]
    if result["count_confusion"] is not None:
        confusions = [result["count_confusion"], result["count_confusion_sampled"]]
        header = "".join(f"{n:>6}" for n in range(len(confusions[0][0])))
        lines.append(f"{'':<24}most probable, and sampled")
        lines.append(f"{'true count | inferred':<24}{header}   {header}")
        for n, rows in enumerate(zip(*confusions, strict=True)):
            cells = ("".join(f"{count:>6}" for count in row) for row in rows)
            lines.append(f"{n:>24}" + "   ".join(cells))
    return "\n".join(lines)
