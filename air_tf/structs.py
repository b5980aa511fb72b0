"""Structures that modules exchange, with their shapes.

Axes: B batch, T attend steps, H W C canvas, D appearance code, G code of the ground, L
channels of an object's layer, see `air_tf.model.composition`.
"""

from typing import Any, NamedTuple

import numpy as np


class NormalParams(NamedTuple):
    """Parameters of independent normal distributions."""

    loc: Any
    scale: Any


class Inference(NamedTuple):
    """Result of the attend loop: samples of q and the parameters of q."""

    presence_logits: Any  # [B, T], of q(z_pres_t = 1 | z_pres_{t-1} = 1)
    z_pres: Any  # [B, T] float, unary code of the count: 1 for the first n steps
    q_where_params: NormalParams  # [B, T, 3] each
    z_where: Any  # [B, T, 3]: scale, shift_y, shift_x
    q_what_params: NormalParams  # [B, T, D] each
    z_what: Any  # [B, T, D]
    num_trips: Any  # [B] int32, attend steps that the image's batch took


class Posterior(NamedTuple):
    """The factors of q(z | x) as distributions."""

    count: Any  # batch shape [B] over {0 .. T}
    presence: Any  # of z_pres_t given z_pres_{t-1} = 1, batch shape [B, T]
    where: Any  # batch shape [B, T], event shape [3]
    what: Any  # batch shape [B, T], event shape [D]


class Densities(NamedTuple):
    """The factors of p(x, z) that a bound needs."""

    count_prior: Any  # distribution over {0 .. T}
    where_prior: Any  # distribution of event shape [3]
    what_prior: Any  # distribution of event shape [D]
    ground_prior: Any  # distribution of event shape [G]
    likelihood_scale: Any  # sigma, a number or []
    composition: Any  # `Composition`: combines objects into a canvas


class AIROutput(NamedTuple):
    """Result of inference, and the decoded objects."""

    inference: Inference
    object_image: Any  # [B, T, H, W, L], one object each; 0 for steps not taken
    q_ground_params: NormalParams  # [B, G] each, of the ground's code
    z_ground: Any  # [B, G]
    ground: Any  # [B, H, W, C], the canvas without objects
    canvas: Any  # [B, H, W, C], the ground with all present objects


class Scenes(NamedTuple):
    """Objects in images, as `AIR.infer` returns them; fields of absent ones are 0."""

    num_objects: Any  # [B] int32, the most probable count
    num_objects_probs: Any  # [B, T + 1], q(n)
    boxes: Any  # [B, T, 4]: ymin, xmin, ymax, xmax in [0, 1]
    presence: Any  # [B, T], 1 for the first num_objects steps, then 0
    presence_probs: Any  # [B, T], q(n >= t), t = 1 .. T
    z_where: Any  # [B, T, 3]
    z_what: Any  # [B, T, D]
    canvas: Any  # [B, H, W, C], the reconstruction
    mask: Any  # [B, T, H, W] in [0, 1], where the object is seen
    ground: Any  # [B, H, W, C], the canvas without objects
    num_trips: Any  # [B] int32, attend steps that the image's batch took


class Inference3D(NamedTuple):
    """Result of the attend loop over a table: samples and parameters of q.

    Axes: K kinds. The phase of an object is its yaw times the symmetry of its kind, so
    that equal pictures have equal phases.
    """

    presence_logits: Any  # [B, T], of q(z_pres_t = 1 | z_pres_{t-1} = 1)
    z_pres: Any  # [B, T] float, unary code of the count: 1 for the first n steps
    q_position_params: NormalParams  # [B, T, 2] each, in units of the table's reach
    position: Any  # [B, T, 2], (x, y) on the table, in units of its reach
    kind_logits: Any  # [B, T, K], of q(kind_t)
    q_phase_params: NormalParams  # [B, T, K] each, given the kind
    phase: Any  # [B, T, K], radians
    mask: Any  # [B, T, H, W] in [0, 1], how much of a pixel the object is seen in
    num_trips: Any  # [B] int32, attend steps that the image's batch took


class Scenes3D(NamedTuple):
    """Objects on a table, as `AIR3D.infer` returns them; absent ones are 0.

    The fields that `Scenes` has, too, mean the same.
    """

    num_objects: Any  # [B] int32, the most probable count
    num_objects_probs: Any  # [B, T + 1], q(n)
    boxes: Any  # [B, T, 4]: ymin, xmin, ymax, xmax in [0, 1], of the mask
    presence: Any  # [B, T], 1 for the first num_objects steps, then 0
    presence_probs: Any  # [B, T], q(n >= t), t = 1 .. T
    kind: Any  # [B, T] int32, index of the most probable kind
    kind_probs: Any  # [B, T, K], q(kind)
    position: Any  # [B, T, 2], (x, y) on the table, in its unit
    position_scale: Any  # [B, T, 2], standard deviations
    yaw: Any  # [B, T], radians, in [-pi, pi] over the symmetry of the kind
    yaw_scale: Any  # [B, T], standard deviations; 0 for kinds of symmetry 0
    mask: Any  # [B, T, H, W] in [0, 1], where the object is seen
    num_trips: Any  # [B] int32, attend steps that the image's batch took


class Objects3D(NamedTuple):
    """What is compared with the truth; `Scenes3D` has these fields, too."""

    num_objects: Any  # [B] int32
    kind: Any  # [B, T] int32
    position: Any  # [B, T, 2], (x, y) on the table, in its unit
    yaw: Any  # [B, T], radians


class Kinds(NamedTuple):
    """The kinds that a 3D model tells apart, see `air_tf.config.tabletop.Kind`."""

    names: tuple[str, ...]
    symmetries: tuple[int, ...]


class TabletopScenes(NamedTuple):
    """Objects on a table with the kinds they may be of: all that an answer needs."""

    scenes: Scenes3D
    kinds: Kinds


class Explanation(NamedTuple):
    """What pictures of results show; `Scenes` has these fields, too."""

    num_objects: Any  # [B] int32, the most probable count
    boxes: Any  # [B, T, 4]: ymin, xmin, ymax, xmax in [0, 1]
    canvas: Any  # [B, H, W, C], the reconstruction


class PictureObjects(NamedTuple):
    """The objects of a picture of any size.

    Attributes:
      labels: [H, W] int32, 0 the ground, i + 1 the pixels of object i.
      probability: [N] float32, that the object is there.
      z_what: [N, D] float32, appearance codes.
      count_low, count_high: interval of the number of objects (90 %).
      count_probability: of N, the number of objects.
    """

    labels: np.ndarray
    probability: np.ndarray
    z_what: np.ndarray
    count_low: int
    count_high: int
    count_probability: float


class ImageSet(NamedTuple):
    """Images in memory, and their true objects where they are known."""

    images: Any  # [N, H, W, C], uint8 or float32 in [0, 1]
    counts: Any = None  # [N] int64
    boxes: Any = None  # [N, max count, 4], as in `Scenes`; 0 after counts[i] boxes
    labels: Any = None  # [N, max count] int64, classes; 0 after counts[i] objects
    segmentation: Any = None  # [N, H, W] uint8: k + 1 where object k is visible, else 0
    positions: Any = None  # [N, max count, 2], x and y on a table; 0 as in labels
    yaws: Any = None  # [N, max count], radians; 0 as in labels

    def head(self, most: int) -> "ImageSet":
        """The first `most` images."""
        return ImageSet(*(None if field is None else field[:most] for field in self))
