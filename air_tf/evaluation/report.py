"""A report of an `Evaluation`: one HTML page with embedded pictures."""

import base64
import io
from typing import NamedTuple

import jinja2
import numpy as np
from matplotlib.figure import Figure

from air_tf.evaluation.evaluation import Evaluation
from air_tf.evaluation.table import table_rows
from air_tf.images import batches
from air_tf.inference.explain import explain
from air_tf.model.air import AIR
from air_tf.model.air3d import AIR3D
from air_tf.model.pixels import to_float
from air_tf.structs import Explanation, ImageSet
from air_tf.visualization import pictures

_NUM_PICTURES = 8
_BATCH_SIZE = 1000
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("air_tf.evaluation", ""),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class _Group(NamedTuple):
    """A group of images in the report."""

    name: str
    picture: str | None  # None if there are no such images
    explained: tuple[float, float] | None = None  # smallest and largest, `_explained`


def report(
    air: AIR | AIR3D, images: ImageSet, evaluation: Evaluation, title: str
) -> str:
    """Renders the page.

    Args:
      air: the model.
      images: the images that were evaluated.
      evaluation: of these images.
      title: of the page.

    Returns:
      HTML without external resources, which its Content-Security-Policy forbids.
    """
    confusions = {
        "Most probable count": evaluation.count_confusion,
        "Sampled count": evaluation.count_confusion_sampled,
    }
    diagram = _reliability_diagram(evaluation)
    return _TEMPLATES.get_template("report.html.jinja").render(
        title=title,
        warnings=evaluation.warnings,
        rows=table_rows(evaluation),
        confusions={name: c for name, c in confusions.items() if c is not None},
        reliability=None if diagram is None else _to_base64(diagram),
        groups=_groups(air, images, evaluation.max_objects),
        num_images=len(images.images),
    )


def _reliability_diagram(evaluation: Evaluation) -> Figure | None:
    if evaluation.reliability is None:
        return None
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axis = figure.subplots()
    axis.bar(
        [b.probability for b in evaluation.reliability],
        [b.accuracy for b in evaluation.reliability],
        width=0.05,
        color="#7aa6d6",
    )
    axis.plot([0, 1], [0, 1], "k--", linewidth=1)
    for b in evaluation.reliability:
        axis.annotate(
            f"{round(b.share * evaluation.num_images):,}",
            (b.probability, b.accuracy),
            ha="center",
            va="bottom",
            fontsize=7,
        )
    axis.set(
        xlim=(0, 1.05),
        ylim=(0, 1.1),
        xlabel="probability of the most probable count",
        ylabel="share counted correctly",
        title=f"expected calibration error {evaluation.expected_calibration_error:.4f}",
    )
    return figure


def _groups(air: AIR | AIR3D, images: ImageSet, max_objects: int) -> list[_Group]:
    """Best, typical and worst images, of those with true or inferred objects."""
    scenes = explain(air, images.images, max_objects)
    explained = np.concatenate(
        [
            _explained(batch, scenes.canvas[part])
            for part, batch in batches(images.images, _BATCH_SIZE)
        ]
    )
    has_objects = scenes.num_objects > 0
    if images.counts is not None:
        has_objects |= images.counts > 0
    order = np.flatnonzero(has_objects)
    order = order[np.argsort(-explained[order], kind="stable")]
    middle = max(0, (len(order) - _NUM_PICTURES) // 2)
    by_explained = {
        "Best": order[:_NUM_PICTURES],
        "Typical": order[middle : middle + _NUM_PICTURES],
        "Worst": order[::-1][:_NUM_PICTURES],
    }
    groups = []
    for name, chosen in by_explained.items():
        picture = _reconstructions(images, scenes, chosen)
        shares = None
        if picture is not None:
            shares = (explained[chosen].min(), explained[chosen].max())
        groups.append(_Group(name, picture, shares))
    if images.counts is not None:
        wrong = np.flatnonzero(scenes.num_objects != images.counts)
        picture = _reconstructions(images, scenes, wrong[: 2 * _NUM_PICTURES])
        groups.append(_Group("Counted wrong", picture))
    return groups


def _reconstructions(
    images: ImageSet, scenes: Explanation, chosen: np.ndarray
) -> str | None:
    if not len(chosen):
        return None
    return _to_base64(
        pictures.reconstructions(
            images.images[chosen],
            Explanation(*(field[chosen] for field in scenes)),
            None if images.counts is None else images.counts[chosen],
        )
    )


def _explained(images: np.ndarray, canvas: np.ndarray) -> np.ndarray:
    """1 - squared error of the canvas / sum of squared pixels, per image: [N]."""
    x = to_float(images).numpy()
    error = np.square(x - canvas).mean(axis=(1, 2, 3))
    return 1.0 - error / np.maximum(np.square(x).mean(axis=(1, 2, 3)), 1e-6)


def _to_base64(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return base64.b64encode(buffer.getvalue()).decode()
