"""What `evaluate` found, as one page of HTML that needs nothing beside it."""

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from air_tf.evaluation.table import table_rows
from air_tf.model.air import AIR, to_float
from air_tf.structs import ImageSet
from air_tf.visualization import pictures

_NUM_PICTURES = 8
_BATCH = 1000

# Nothing may be loaded from anywhere: the browser itself sees to it.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 sans-serif; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; color: #222; background: #fff }}
h1 {{ font-size: 1.5rem }} h2 {{ font-size: 1.15rem; margin-top: 2rem }}
table {{ border-collapse: collapse }}
th, td {{ padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: left;
  font-weight: normal }}
td {{ text-align: right; font-variant-numeric: tabular-nums }}
.right {{ background: #e4f3e4 }} .wrong {{ background: #fbe3e3 }}
.side {{ display: flex; flex-wrap: wrap; gap: 2.5rem }}
img {{ max-width: 100% }}
p.warning {{ background: #fbe3e3; padding: .5rem 1rem }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def report(air: AIR, images: ImageSet, result: dict[str, Any], title: str) -> str:
    """The page.

    Args:
      air: the model.
      images: that were evaluated.
      result: what `evaluate` returned for them, perhaps with the bound of many
        samples, the linear probe and warnings.
      title: of the page.
    """
    body = [
        *(f'<p class="warning">{html.escape(w)}</p>' for w in result["warnings"]),
        "<h2>Figures</h2>",
        _figures(result),
    ]
    if result["count_confusion"] is not None:
        body += [
            "<h2>Counts</h2>",
            '<div class="side">',
            _confusion("Most probable count", result["count_confusion"]),
            _confusion("Sampled count", result["count_confusion_sampled"]),
            "</div>",
            "<h2>Is q(n) to be trusted?</h2>",
            "<p>Of the images counted with a probability in each of 15 bins, the share "
            "that was counted right. Bars above the line: better than it says. The "
            "numbers are images in a bin.</p>",
            _picture(_reliability_diagram(result), "Reliability diagram of the count"),
        ]
    body += _pictures(air, images, result["max_objects"])
    return _PAGE.format(title=html.escape(title), body="\n".join(body))


def _figures(result) -> str:
    rows = "".join(
        f"<tr><th>{'&emsp;' * (len(name) - len(name.lstrip()))}"
        f"{html.escape(name.strip())}</th><td>{html.escape(value)}</td></tr>"
        for name, value in table_rows(result)
    )
    return f'<table id="figures">{rows}</table>'


def _confusion(caption: str, confusion: Sequence[Sequence[int]]) -> str:
    header = "".join(f"<td>{n}</td>" for n in range(len(confusion[0])))
    rows = []
    for n, row in enumerate(confusion):
        cells = "".join(
            f'<td class="{_kind(n, m, count)}">{count:,}</td>'
            for m, count in enumerate(row)
        )
        rows.append(f"<tr><th>{n}</th>{cells}</tr>")
    return (
        f'<table class="confusion"><caption>{caption}: true by inferred</caption>'
        f"<tr><th></th>{header}</tr>{''.join(rows)}</table>"
    )


def _kind(true: int, inferred: int, count: int) -> str:
    return "" if not count else ("right" if true == inferred else "wrong")


def _reliability_diagram(result) -> Figure:
    rows, total = result["reliability"], result["num_images"]
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axis = figure.subplots()
    said = [row["probability"] for row in rows]
    axis.bar(said, [row["accuracy"] for row in rows], width=0.05, color="#7aa6d6")
    axis.plot([0, 1], [0, 1], "k--", linewidth=1)
    for row in rows:
        axis.annotate(
            f"{round(row['share'] * total):,}",
            (row["probability"], row["accuracy"]),
            ha="center",
            va="bottom",
            fontsize=7,
        )
    axis.set(
        xlim=(0, 1.05),
        ylim=(0, 1.1),
        xlabel="probability of the most probable count",
        ylabel="share counted right",
        title=f"expected calibration error {result['expected_calibration_error']:.4f}",
    )
    return figure


def _pictures(air: AIR, images: ImageSet, max_objects: int) -> list[str]:
    """Best, typical and worst of the images that hold or are given objects."""
    scenes = air.infer(images.images, max_objects=max_objects)
    explained = np.concatenate(
        [
            _explained(images.images[i : i + _BATCH], scenes.canvas[i : i + _BATCH])
            for i in range(0, len(images.images), _BATCH)
        ]
    )
    something = scenes.num_objects > 0
    if images.counts is not None:
        something |= images.counts > 0
    order = np.flatnonzero(something)
    order = order[np.argsort(-explained[order], kind="stable")]
    middle = max(0, (len(order) - _NUM_PICTURES) // 2)
    groups = {
        "Best": order[:_NUM_PICTURES],
        "Typical": order[middle : middle + _NUM_PICTURES],
        "Worst": order[::-1][:_NUM_PICTURES],
    }
    if images.counts is not None:
        wrong = np.flatnonzero(scenes.num_objects != images.counts)
        groups["Counted wrong"] = wrong[: 2 * _NUM_PICTURES]
    parts = []
    for name, chosen in groups.items():
        parts.append(f"<h2>{name}</h2>")
        if not len(chosen):
            parts.append(f"<p>None of {len(images.images):,} images.</p>")
            continue
        if name in ("Best", "Typical", "Worst"):
            low, high = explained[chosen].min(), explained[chosen].max()
            parts.append(
                f"<p>By the share of the pixels' squares that is explained, here "
                f"{low:.1%} to {high:.1%}.</p>"
            )
        figure = pictures.reconstructions(
            images.images[chosen],
            type(scenes)(*(field[chosen] for field in scenes)),
            None if images.counts is None else images.counts[chosen],
        )
        parts.append(_picture(figure, f"{name}: inputs above reconstructions"))
    return parts


def _explained(images, canvas) -> np.ndarray:
    """Share of the sum of squares of an image's pixels: [N]."""
    x = to_float(images).numpy()
    error = np.square(x - canvas).mean(axis=(1, 2, 3))
    return 1.0 - error / np.maximum(np.square(x).mean(axis=(1, 2, 3)), 1e-6)


def _picture(figure: Figure, description: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<p><img alt="{description}" src="data:image/png;base64,{data}"></p>'
