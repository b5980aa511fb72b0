"""Evaluates a model of either form on held-out images."""

from air_tf.evaluation.evaluate import evaluate
from air_tf.evaluation.evaluate3d import evaluate3d
from air_tf.evaluation.evaluation import Evaluation
from air_tf.model.air import AIR
from air_tf.model.air3d import AIR3D
from air_tf.structs import ImageSet


def evaluate_model(
    air: AIR | AIR3D,
    images: ImageSet,
    *,
    max_objects: int | None = None,
    proposals: int | None = None,
    fitted_count: bool = False,
    by_step: bool = False,
    show_progress: bool = False,
) -> Evaluation:
    """See `evaluate`; without errors by step for 3D scenes."""
    if isinstance(air, AIR3D):
        air.config.num_proposals(proposals)
        return evaluate3d(
            air,
            images,
            max_objects=max_objects,
            fitted_count=fitted_count,
            show_progress=show_progress,
        )
    return evaluate(
        air,
        images,
        max_objects=max_objects,
        proposals=proposals,
        fitted_count=fitted_count,
        by_step=by_step,
        show_progress=show_progress,
    )
