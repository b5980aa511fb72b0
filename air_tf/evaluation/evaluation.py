"""The figures of a model on one set of images."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from air_tf.errors import InputError
from air_tf.evaluation.metrics import ReliabilityBin

# Keys of earlier versions.
_RENAMED = {"max_steps_per_image": "max_objects"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The figures of `evaluate`, with those that `evaluate_run` and `train` add.

    Bounds and their terms are in nats per image, with the constant of the likelihood.
    Optional figures are None if the images have no counts, boxes or labels, or if the
    figure was not requested.

    Attributes:
      num_images: N, number of images.
      max_objects: T, the largest count that can be inferred.
      num_objects_histogram: number of images with the inferred count 0, 1, .. T.
      mean_num_objects: mean inferred count.
      elbo: the evidence lower bound, `log_likelihood` - `kl_num_objects` - `kl_where`
        - `kl_what` - `kl_ground`, estimated with one sample of z_where, z_what and the
        ground's code per image and the count summed out.
      log_likelihood: E_q log p(x | z).
      kl_num_objects: KL(q(n) || p(n)).
      kl_where: KL of z_where, over the objects that are present.
      kl_what: KL of z_what, over the objects that are present.
      kl_ground: KL of the ground's code; 0 for a ground that is black.
      likelihood_scale: sigma, the standard deviation of a pixel, as set or as learned.
      likelihood_constant: log p(x | z) of a perfect reconstruction: the constant of
        the likelihood, which the bounds include.
      count_prior: the p(n) of the bounds: "training", or "fitted" to training images.
      reconstruction_error: squared error, mean over pixels.
      empty_canvas_error: squared error of the ground without objects, mean over pixels.
      background: the kind of ground: "black", "constant", "striped" or
        "learned".
      object_coverage: share of the pixels that the mask of an object fills at least
        by half.
      ground_share: of objects: 0 if the ground goes on behind them unchanged, 1 if it
        draws them, too; see `metrics.ground_share`. None for a black ground.
      reconstruction_error_by_step: [T + 1], squared errors before the first attend step
        and after each of them, mean over pixels.
      count_accuracy: share of images whose most probable count is the true one.
      count_accuracy_sampled: the same for a count sampled from q(n).
      count_confusion: images by true count (rows) and most probable count (columns).
      count_confusion_sampled: images by true count (rows) and sampled count (columns).
      mean_abs_count_error: mean of |most probable count - true count|.
      expected_calibration_error: of q(n), see `metrics.calibration`.
      reliability: the bins of `expected_calibration_error`.
      generated_count_distance: total variation distance between the counts of generated
        scenes, which have the fitted p(n), and the true counts.
      mean_iou: IoU of true boxes and inferred ones, see `metrics.mean_iou`.
      ap_50: average precision of boxes at IoU 0.5.
      ap_50_95: mean average precision over IoU 0.5, 0.55, .. 0.95, as in COCO (Lin et
        al. 2014).
      foreground_ari: adjusted Rand index of pixels, grouped by the object that is
        seen most there; mean over images with two or more objects.
      kind_accuracy: 3D scenes: share of the true objects that are found with their
        kind, see `metrics3d.match`.
      position_error: 3D scenes: median distance of a true position and the inferred
        one, as a share of the table's width.
      position_error_mean: its mean.
      yaw_error: 3D scenes: for each kind whose yaw can be seen, the median angle
        between the true yaw and the inferred one, in degrees, over objects whose kind
        is right. The angle is at most 180 degrees over the symmetry of the kind.
      num_counted_pictures: whole pictures whose number of objects is known.
      picture_count_error: mean of |count - known count| of these pictures.
      picture_count_bias: mean of their count - known count.
      dataset: name of the dataset.
      split: of the dataset; "all" for the user's images that the model was not trained
        on.
      warnings: from `diagnose`.
      training_seconds: duration of training, including its evaluations.
      iwae: the importance-weighted bound.
      num_samples: K of `iwae`.
      probe_accuracy: of a linear classifier of labels from z_what, see `linear_probe`.
      probe_accuracy_pixels: the same for a classifier from the pixels of the glimpses.
      probe_num_train: number of objects that the classifiers were fitted to.
      probe_num_test: number of objects that the classifiers were tested on.
    """

    num_images: int
    max_objects: int
    num_objects_histogram: list[int]
    mean_num_objects: float
    elbo: float
    log_likelihood: float
    kl_num_objects: float
    kl_where: float
    kl_what: float
    kl_ground: float = 0.0
    likelihood_scale: float
    likelihood_constant: float | None = None
    count_prior: str = "training"
    reconstruction_error: float
    empty_canvas_error: float
    background: str = "black"
    object_coverage: float | None = None
    ground_share: float | None = None
    reconstruction_error_by_step: list[float] | None = None
    count_accuracy: float | None = None
    count_accuracy_sampled: float | None = None
    count_confusion: list[list[int]] | None = None
    count_confusion_sampled: list[list[int]] | None = None
    mean_abs_count_error: float | None = None
    expected_calibration_error: float | None = None
    reliability: list[ReliabilityBin] | None = None
    generated_count_distance: float | None = None
    mean_iou: float | None = None
    ap_50: float | None = None
    ap_50_95: float | None = None
    foreground_ari: float | None = None
    kind_accuracy: float | None = None
    position_error: float | None = None
    position_error_mean: float | None = None
    yaw_error: dict[str, float] | None = None
    num_counted_pictures: int | None = None
    picture_count_error: float | None = None
    picture_count_bias: float | None = None
    dataset: str | None = None
    split: str | None = None
    warnings: list[str] = dataclasses.field(default_factory=list)
    training_seconds: float | None = None
    iwae: float | None = None
    num_samples: int | None = None
    probe_accuracy: float | None = None
    probe_accuracy_pixels: float | None = None
    probe_num_train: int | None = None
    probe_num_test: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """All figures as a dictionary for JSON; unavailable ones are None."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Evaluation":
        """Reads the result of `to_dict`, of this or an earlier version.

        Figures that the earlier version did not have are None; figures that do not
        exist any more are ignored.

        Raises:
          InputError: if a required figure is missing.
        """
        found = {_RENAMED.get(name, name): value for name, value in values.items()}
        fields = {field.name: field for field in dataclasses.fields(cls)}
        missing = [
            name
            for name, field in fields.items()
            if field.default is field.default_factory is dataclasses.MISSING
            and found.get(name) is None
        ]
        if missing:
            raise InputError(f"the figures lack {', '.join(missing)}")
        given = {name: value for name, value in found.items() if name in fields}
        if given.get("reliability") is not None:
            given["reliability"] = [
                ReliabilityBin(**row) for row in given["reliability"]
            ]
        return cls(**given)
