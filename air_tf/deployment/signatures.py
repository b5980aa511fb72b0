"""The functions that are exported: named tensors in, named tensors out.

All are deterministic: they give posterior means and the most probable count. Outputs
have the batch as their first axis, are float32 or int32, and are never NaN: input
pixels and latents are cleaned, see `clean`.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from air_tf.deployment.answers import SCENE_OUTPUTS
from air_tf.errors import InputError
from air_tf.images import MAX_SERVED_PIXELS
from air_tf.model.air import AIR
from air_tf.structs import Scenes

MAX_BATCH_SIZE = 64
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_WHOLE_PNG = r"\C{26}\C*IEND\C*"
# Latents are clamped to these, so that canvases are finite.
_MAX_SHIFT, _MAX_CODE = 10.0, 100.0
Outputs = dict[str, tf.Tensor]


def clean(x: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Replaces NaN by 0 and clamps all else to [low, high]."""
    # LiteRT has no is_nan.
    return tf.clip_by_value(tf.where(tf.equal(x, x), x, 0.0), low, high)


class ServingModule(tf.Module):
    """The signatures of the SavedModel.

    Holds the weights as plain variables: TF Serving's session does not find the
    variables of a Keras model (keras issue 20095).

    Args:
      air: the model.
      max_objects: T.
    """

    def __init__(self, air: AIR, max_objects: int):
        super().__init__()
        self._weights = [variable.value for variable in air.variables]
        # In a function, so that tf.Module does not track its variables a second time.
        self._air = lambda: air
        self._max_objects = max_objects

    def signatures(self) -> dict[str, Callable]:
        """Concrete functions by name.

        - `serving_default`: image [B, H, W, C] float32 to `SCENE_OUTPUTS`;
        - `reconstruct`: image to `SCENE_OUTPUTS` and `canvas`;
        - `decode`: z_where [B, T, 3], z_what [B, T, D] and presence [B, T] to `canvas`;
        - `serve_image_bytes`, for canvases of 1 or 3 channels: image_bytes [B] to
          `SCENE_OUTPUTS`.
        """
        config = self._air().config
        max_objects = self._max_objects

        def spec(name: str, *shape: int, dtype: Any = tf.float32) -> tf.TensorSpec:
            return tf.TensorSpec([None, *shape], dtype, name=name)

        image = [spec("image", *config.image_shape)]
        latents = [
            spec("z_where", max_objects, 3),
            spec("z_what", max_objects, config.z_what_size),
            spec("presence", max_objects),
        ]
        found = {
            "serving_default": _signature(self._serve, image),
            "reconstruct": _signature(self._reconstruct, image),
            "decode": _signature(self._decode, latents),
        }
        if config.image_shape[2] in (1, 3):
            found["serve_image_bytes"] = _signature(
                self._serve_bytes, [spec("image_bytes", dtype=tf.string)]
            )
        return found

    def _scenes(self, image: tf.Tensor) -> Scenes:
        air = self._air()
        # A session does not check inputs against the signature's shapes.
        image = tf.ensure_shape(image, [None, *air.config.image_shape])
        with tf.control_dependencies([_require_batch(image)]):
            image = clean(image, 0.0, 1.0)
        return air.scenes(image, max_objects=self._max_objects)

    def _serve(self, image: tf.Tensor) -> Outputs:
        return _outputs(self._scenes(image))

    def _reconstruct(self, image: tf.Tensor) -> Outputs:
        return _outputs(self._scenes(image), with_canvas=True)

    def _serve_bytes(self, image_bytes: tf.Tensor) -> Outputs:
        air = self._air()
        image_bytes = tf.ensure_shape(image_bytes, [None])
        with tf.control_dependencies([_require_batch(image_bytes)]):
            image = tf.map_fn(
                lambda contents: decode_picture(contents, air.config.image_shape),
                image_bytes,
                fn_output_signature=tf.TensorSpec(air.config.image_shape, tf.float32),
                parallel_iterations=2,
            )  # [B, H, W, C]
        return _outputs(self._scenes(image))

    def _decode(
        self, z_where: tf.Tensor, z_what: tf.Tensor, presence: tf.Tensor
    ) -> Outputs:
        air = self._air()
        most = self._max_objects
        z_where = tf.ensure_shape(z_where, [None, most, 3])
        z_what = tf.ensure_shape(z_what, [None, most, air.config.z_what_size])
        presence = tf.ensure_shape(presence, [None, most])
        with tf.control_dependencies([_require_batch(z_where)]):
            canvas = air.decode(
                clean(z_where, -_MAX_SHIFT, _MAX_SHIFT),
                clean(z_what, -_MAX_CODE, _MAX_CODE),
                clean(presence, 0.0, 1.0),
            )
        return {"canvas": canvas}


class EdgeModule(tf.Module):
    """The function that is converted to LiteRT: image to `SCENE_OUTPUTS` and `canvas`.

    Args:
      air: the model.
      max_objects: T.
      batch_size: images in a call; None for any number.
      loop: see `AIR.scenes`.
    """

    def __init__(
        self, air: AIR, *, max_objects: int, batch_size: int | None, loop: str
    ):
        super().__init__()
        self._weights = [variable.value for variable in air.variables]

        def infer(image: tf.Tensor) -> Outputs:
            scenes = air.scenes(
                clean(image, 0.0, 1.0), max_objects=max_objects, loop=loop
            )
            return _outputs(scenes, with_canvas=True)

        shape = [batch_size, *air.config.image_shape]
        self.infer = _signature(infer, [tf.TensorSpec(shape, tf.float32, name="image")])


def decode_picture(contents: tf.Tensor, image_shape: tuple[int, int, int]) -> tf.Tensor:
    """Decodes a PNG or JPEG and stretches it to the canvas.

    As `air_tf.data.user_images.read_picture`, with TensorFlow's operations:
    transparent parts become black, but a rotation in EXIF data is not applied.

    Args:
      contents: the file's bytes, a scalar.
      image_shape: (H, W, C) of the canvas, C 1 or 3.

    Returns:
      [H, W, C] float32 in [0, 1].

    Raises:
      InvalidArgumentError: at run time, for other contents and for too many pixels.
    """
    is_png = tf.equal(tf.strings.substr(contents, 0, len(_PNG)), _PNG)
    is_jpeg = tf.equal(tf.strings.substr(contents, 0, len(_JPEG)), _JPEG)
    # decode_png accepts a truncated PNG and leaves the rest empty.
    whole = is_jpeg | tf.strings.regex_full_match(contents, _WHOLE_PNG)
    known = tf.debugging.Assert(
        (is_png | is_jpeg) & whole,
        ["image_bytes is not a PNG or JPEG, or is truncated"],
    )
    with tf.control_dependencies([known]):
        size = tf.cond(
            is_png,
            lambda: _png_size(contents),
            lambda: tf.cast(tf.image.extract_jpeg_shape(contents)[:2], tf.int64),
        )
    small = tf.debugging.Assert(
        tf.reduce_prod(size) <= MAX_SERVED_PIXELS,
        [f"image_bytes has more than {MAX_SERVED_PIXELS} pixels: height, width", size],
    )
    with tf.control_dependencies([small]):
        rgb = tf.cond(
            is_png,
            lambda: _on_black(_decode_png(contents)),
            lambda: tf.image.decode_jpeg(contents, channels=3),
        )  # [h, w, 3] uint8
    height, width, channels = image_shape
    rgb = tf.image.resize(
        tf.ensure_shape(rgb, [None, None, 3]), (height, width), antialias=True
    )
    if channels == 1:  # ITU-R BT.601, as Pillow's "L"
        rgb = tf.reduce_sum(rgb * [0.299, 0.587, 0.114], axis=-1, keepdims=True)
    return tf.reshape(rgb, image_shape) / 255.0


def _png_size(contents: tf.Tensor) -> tf.Tensor:
    """(height, width), [2] int64, from the header."""
    sizes = tf.io.decode_raw(tf.strings.substr(contents, 16, 8), tf.uint8)
    digits = tf.reshape(tf.cast(sizes, tf.int64), [2, 4])  # big-endian
    width, height = tf.unstack(tf.reduce_sum(digits * [2**24, 2**16, 2**8, 1], axis=1))
    return tf.stack([height, width])


def _decode_png(contents: tf.Tensor) -> tf.Tensor:
    """[h, w, 4] uint8. To a grey PNG without opacity, decode_png adds one of the PNG's
    own bit depth: 1 instead of 255 if it is black and white."""
    colour_type = tf.io.decode_raw(tf.strings.substr(contents, 25, 1), tf.uint8)[0]
    rgba = tf.image.decode_png(contents, channels=4)
    opacity = tf.where(
        tf.equal(colour_type, 0), tf.constant(255, tf.uint8), rgba[..., 3:]
    )
    return tf.concat([rgba[..., :3], opacity], axis=-1)


def _on_black(rgba: tf.Tensor) -> tf.Tensor:
    """[h, w, 4] uint8 on a black background, [h, w, 3] uint8."""
    wide = tf.cast(rgba, tf.uint16)
    return tf.cast(wide[..., :3] * wide[..., 3:] // 255, tf.uint8)


def _require_batch(x: tf.Tensor) -> tf.Operation:
    batch = tf.shape(x)[0]
    return tf.debugging.Assert(
        (batch >= 1) & (batch <= MAX_BATCH_SIZE),
        [f"expected 1 to {MAX_BATCH_SIZE} images in a request, got", batch],
    )


def _outputs(scenes: Scenes, with_canvas: bool = False) -> Outputs:
    names = (*SCENE_OUTPUTS, "canvas") if with_canvas else SCENE_OUTPUTS
    # Not every runtime allows two outputs to be one tensor.
    return {name: tf.identity(getattr(scenes, name), name=name) for name in names}


def _signature(function: Callable, specs: list[tf.TensorSpec]) -> Callable:
    return tf.function(function, input_signature=specs).get_concrete_function()


def in_float32(air: AIR) -> AIR:
    """A copy that computes in float32, even if it was trained in mixed precision.

    Raises:
      InputError: for weights that are NaN or infinite.
    """
    for variable in air.variables:
        if not bool(tf.reduce_all(tf.math.is_finite(variable.value))):
            raise InputError(
                f"the model's {variable.path} holds NaN or infinity; expected the "
                "model of a training that did not diverge"
            )
    copy = AIR(air.config, dtype="float32")
    copy.set_weights(air.get_weights())
    return copy
