"""What crosses the borders between rooms, with shapes.

Axes: B batch, T steps, H W C canvas, D appearance code.
"""

from typing import Any, NamedTuple


class NormalParams(NamedTuple):
    """Parameters of independent Normals."""

    loc: Any
    scale: Any


class Inference(NamedTuple):
    """What the attend loop found: samples of q and the parameters of q."""

    presence_logits: Any  # [B, T], of q(z_pres_t = 1 | z_pres_{t-1} = 1)
    z_pres: Any  # [B, T] float, 1 while objects go on
    q_where_params: NormalParams  # [B, T, 3] each
    z_where: Any  # [B, T, 3]: scale, shift_y, shift_x
    q_what_params: NormalParams  # [B, T, D] each
    z_what: Any  # [B, T, D]
    num_trips: Any  # [B] int32, how often the loop of this batch went round


class Posterior(NamedTuple):
    """The factors of q(z | x) as distributions."""

    count: Any  # batch shape [B] over {0 .. T}
    presence: Any  # of z_pres_t given z_pres_{t-1} = 1, batch shape [B, T]
    where: Any  # batch shape [B, T], event shape [3]
    what: Any  # batch shape [B, T], event shape [D]


class Densities(NamedTuple):
    """The factors of p that a bound needs."""

    count_prior: Any  # distribution over {0 .. T}
    where_prior: Any  # distribution of event shape [3]
    what_prior: Any  # distribution of event shape [D]
    likelihood_scale: float  # sigma


class AIROutput(NamedTuple):
    """Inference, and what p makes of it."""

    inference: Inference
    object_image: Any  # [B, T, H, W, C], each object alone; 0 for steps not taken
    canvas: Any  # [B, H, W, C], the present objects together


class Scenes(NamedTuple):
    """What `AIR.infer` says of images; absent objects are 0 everywhere."""

    num_objects: Any  # [B] int32, the most probable count
    num_objects_probs: Any  # [B, T + 1], q(n)
    boxes: Any  # [B, T, 4]: ymin, xmin, ymax, xmax in [0, 1]
    presence: Any  # [B, T], 1 where there is an object, so the first num_objects
    presence_probs: Any  # [B, T], q(n >= t), t = 1 .. T
    z_where: Any  # [B, T, 3]
    z_what: Any  # [B, T, D]
    canvas: Any  # [B, H, W, C], the reconstruction
    num_trips: Any  # [B] int32


class ImageSet(NamedTuple):
    """Images in memory, with what is known of them."""

    images: Any  # [N, H, W, C], uint8 or float32 in [0, 1]
    counts: Any = None  # [N] int64
    boxes: Any = None  # [N, most objects, 4]; rows from counts[i] on are 0
    labels: Any = None  # [N, most objects] int64, what the objects are; likewise
    segmentation: Any = None  # [N, H, W] uint8: k where object k - 1 shows, else 0

    def head(self, most: int) -> "ImageSet":
        """The first `most` images."""
        return ImageSet(*(None if field is None else field[:most] for field in self))
