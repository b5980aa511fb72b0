"""The functions that are exported: named tensors in, named tensors out.

All are deterministic: they give posterior means and the most probable count. Outputs
have the batch as their first axis, are float32 or int32, and are never NaN: input
pixels and latents are cleaned, see `clean`.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import tensorflow as tf

from air_tf.config import PictureConfig
from air_tf.deployment.exportable import (
    Exportable,
    ExportableAIR,
    clean,
    exportable,
)
from air_tf.errors import InputError
from air_tf.images import MAX_SERVED_PIXELS, MAX_STRETCH
from air_tf.model.air import AIR
from air_tf.model.air3d import AIR3D
from air_tf.structs import Scenes, Scenes3D

MAX_BATCH_SIZE = 64
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_WHOLE_PNG = r"\C{26}\C*IEND\C*"
Outputs = dict[str, tf.Tensor]
Model = TypeVar("Model", bound=AIR | AIR3D)


class ServingModule(tf.Module):
    """The signatures of the SavedModel.

    Holds the weights as plain variables: TF Serving's session does not find the
    variables of a Keras model (keras issue 20095).

    Args:
      air: the model.
      max_objects: T.
      pictures: settings of pictures of any size, for clients that cut windows.
    """

    def __init__(
        self,
        air: AIR | AIR3D,
        max_objects: int,
        pictures: PictureConfig | None = None,
    ):
        super().__init__()
        self._weights = [variable.value for variable in air.variables]
        # No tf.Module, so its variables are not tracked a second time.
        self._model = exportable(air, max_objects, pictures)
        # One graph, which three signatures call.
        self._scenes = _graph(self._infer, [self._image()])

    def _image(self) -> tf.TensorSpec:
        shape = self._model.air.config.image_shape
        return tf.TensorSpec([None, *shape], tf.float32, name="image")

    def signatures(self) -> dict[str, Callable]:
        """Concrete functions by name. Outputs are those of the model's `Answers`.

        - `serving_default`: image [B, H, W, C] float32 to scenes;
        - `reconstruct`: image to scenes with the large output, and to `canvas` if the
          graph can draw it;
        - `decode`, if the graph can draw: latents as in scenes to `canvas`;
        - `serve_image_bytes`, for canvases of 1 or 3 channels: image_bytes [B] to
          scenes and constants.
        """
        model = self._model
        image = [self._image()]
        found = {
            "serving_default": _signature(self._serve, image),
            "reconstruct": _signature(self._reconstruct, image),
        }
        if model.latents:
            found["decode"] = _signature(self._decode, _latent_specs(model, None))
        if model.air.config.image_shape[2] in (1, 3):
            spec = tf.TensorSpec([None], tf.string, name="image_bytes")
            found["serve_image_bytes"] = _signature(self._serve_bytes, [spec])
        return found

    def _infer(self, image: tf.Tensor) -> Scenes | Scenes3D:
        air = self._model.air
        # A session does not check inputs against the signature's shapes.
        image = tf.ensure_shape(image, [None, *air.config.image_shape])
        with tf.control_dependencies([_require_batch(image)]):
            image = clean(image, 0.0, 1.0)
        return air.scenes(image, max_objects=self._model.max_objects)

    def _serve(self, image: tf.Tensor) -> Outputs:
        return _outputs(self._scenes(image), self._model.answers.names)

    def _reconstruct(self, image: tf.Tensor) -> Outputs:
        model = self._model
        scenes = self._scenes(image)
        outputs = _outputs(scenes, model.answers.all_names)
        if model.latents:
            canvas = model.reconstruction(scenes)
            outputs["canvas"] = tf.identity(canvas, name="canvas")
        return outputs

    def _serve_bytes(self, image_bytes: tf.Tensor) -> Outputs:
        model = self._model
        shape = model.air.config.image_shape
        image_bytes = tf.ensure_shape(image_bytes, [None])
        with tf.control_dependencies([_require_batch(image_bytes)]):
            image = tf.map_fn(
                lambda contents: decode_picture(
                    contents, shape, fixed_camera=model.fixed_camera
                ),
                image_bytes,
                fn_output_signature=tf.TensorSpec(shape, tf.float32),
                parallel_iterations=2,
            )  # [B, H, W, C]
        outputs = _outputs(self._scenes(image), model.answers.names)
        batch = tf.shape(image)[0]
        for name, value in model.constants.items():
            outputs[name] = tf.tile(value[tf.newaxis], [batch, 1], name=name)
        return outputs

    def _decode(self, *values: tf.Tensor) -> Outputs:
        with tf.control_dependencies([_require_batch(values[0])]):
            canvas = self._model.canvas(self._model.clean_latents(values))
        return {"canvas": canvas}


class EdgeModule(tf.Module):
    """The functions that are converted to LiteRT.

    Args:
      air: the model.
      max_objects: T.
      batch_size: images in a call; None for any number.
      loop: see `AIR.scenes`.
      decodes: whether the file also gets `decode`, for models whose file can draw.

    Attributes:
      functions: concrete functions, each named as its signature:

        - `serving_default`: image to all outputs of `Answers`;
        - `decode`: latents as in scenes, the present ones first, to `Answers.drawn`.
    """

    def __init__(
        self,
        air: AIR | AIR3D,
        *,
        max_objects: int,
        batch_size: int | None,
        loop: str,
        decodes: bool,
    ):
        super().__init__()
        self._weights = [variable.value for variable in air.variables]
        model = exportable(air, max_objects)

        def serving_default(image: tf.Tensor) -> Outputs:
            scenes = air.scenes(
                clean(image, 0.0, 1.0),
                max_objects=max_objects,
                loop=loop,
                # LiteRT refuses some operations on tensors without elements.
                static_sizes=True,
            )
            return _outputs(scenes, model.answers.all_names)

        shape = [batch_size, *air.config.image_shape]
        image = [tf.TensorSpec(shape, tf.float32, name="image")]
        self.functions = [_signature(serving_default, image)]
        if not (decodes and isinstance(model, ExportableAIR)):
            return

        def decode(*values: tf.Tensor) -> Outputs:
            scenes = model.drawn_scenes(model.clean_latents(values))
            return _outputs(scenes, [output.name for output in model.answers.drawn])

        self.functions.append(_signature(decode, _latent_specs(model, batch_size)))


def decode_picture(
    contents: tf.Tensor,
    image_shape: tuple[int, int, int],
    *,
    fixed_camera: bool = False,
) -> tf.Tensor:
    """Decodes a PNG or JPEG and stretches it to the canvas.

    As `air_tf.data.user_images.read_picture`, with TensorFlow's operations:
    transparent parts become black, but a rotation in EXIF data is not applied.

    Args:
      contents: the file's bytes, a scalar.
      image_shape: (H, W, C) of the canvas, C 1 or 3.
      fixed_camera: whether to refuse pictures of another aspect ratio, as
        `air_tf.images.check_aspect`.

    Returns:
      [H, W, C] float32 in [0, 1].

    Raises:
      InvalidArgumentError: at run time, for other contents and other sizes.
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
    checks = [small, _require_aspect(size, image_shape)] if fixed_camera else [small]
    with tf.control_dependencies(checks):
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


def _require_aspect(size: tf.Tensor, image_shape: tuple[int, int, int]) -> tf.Operation:
    height, width, _ = image_shape
    rows, columns = tf.unstack(tf.cast(size, tf.float32))
    ratio = columns * height / (rows * width)
    return tf.debugging.Assert(
        tf.maximum(ratio, 1.0 / ratio) <= 1.0 + MAX_STRETCH,
        [
            f"image_bytes has another aspect ratio than the canvas, {width}x{height}: "
            "height, width",
            size,
        ],
    )


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


def _outputs(scenes: Scenes | Scenes3D, names: Sequence[str]) -> Outputs:
    # Not every runtime allows two outputs to be one tensor.
    return {name: tf.identity(getattr(scenes, name), name=name) for name in names}


def _latent_specs(model: Exportable, batch_size: int | None) -> list[tf.TensorSpec]:
    """Of the inputs of `decode`."""
    return [
        tf.TensorSpec([batch_size, *latent.shape], latent.dtype, name=name)
        for name, latent in model.latents.items()
    ]


def _signature(function: Callable, specs: list[tf.TensorSpec]) -> Callable:
    return _graph(function, specs).get_concrete_function()


def _graph(function: Callable, specs: list[tf.TensorSpec]) -> Any:
    # Without AutoGraph: all loops and branches are operations, and the conversion
    # takes longer than the trace.
    return tf.function(function, input_signature=specs, autograph=False)


def in_float32(air: Model) -> Model:
    """The model, or a copy in float32 if it was trained in mixed precision.

    Raises:
      InputError: for weights that are NaN or infinite.
    """
    for variable in air.variables:
        if not bool(tf.reduce_all(tf.math.is_finite(variable.value))):
            raise InputError(
                f"the model's {variable.path} holds NaN or infinity; expected the "
                "model of a training that did not diverge"
            )
    if air.dtype_policy.name == "float32":
        return air
    make: Callable = type(air)
    copy = make(air.config, dtype="float32")
    copy.set_weights(air.get_weights())
    return copy
