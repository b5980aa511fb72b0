"""The model card beside the versions of an exported model."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from air_tf.config import AIR3DConfig, AIRConfig, RunConfig
from air_tf.deployment.answers import PICTURES, Output
from air_tf.deployment.exportable import Exportable
from air_tf.deployment.serving_files import DOCKER_RUN, MODEL_NAME
from air_tf.deployment.signatures import MAX_BATCH_SIZE
from air_tf.images import MAX_SERVED_PIXELS, MAX_STRETCH

CARD = "README.md"


class _Figure(NamedTuple):
    """A figure of metrics.json."""

    text: str
    name: str
    form: str


@dataclasses.dataclass(frozen=True)
class _Texts:
    """What cards say of one class of models.

    Attributes:
      about: what the model does.
      sizes: what is done with pictures of another size than the canvas.
      objects: from the model's config, what is known of objects.
      figures: of held-out images.
      limits: what the training data are like, which limits the use.
    """

    about: str
    sizes: str
    objects: Callable[[Any], str]
    figures: tuple[_Figure, ...]
    limits: str


def _codes(config: AIRConfig) -> str:
    return f"codes of {config.z_what_size} numbers (D)"


def _kinds(config: AIR3DConfig) -> str:
    names, reach = config.tabletop.kind_names, config.tabletop.reach
    return (
        f"{len(names)} kinds (K): {', '.join(names)}; positions from {-reach:g} to "
        f"{reach:g} along both axes"
    )


_FIGURES = (
    _Figure("count accuracy {}", "count_accuracy", ".2%"),
    _Figure("ELBO {} nats", "elbo", ".1f"),
    _Figure("mean IoU {}", "mean_iou", ".3f"),
    _Figure("AP at 0.5 {}", "ap_50", ".3f"),
)

_TEXTS = {
    "AIR": _Texts(
        about="""\
Counts the objects in images, locates them and encodes their appearance. Trained
without labels with air_tf (Attend, Infer, Repeat, Eslami et al. 2016).""",
        sizes=f"""\
- Pictures sent as bytes are stretched to the canvas. Anything but a complete PNG or
  JPEG of at most {MAX_SERVED_PIXELS} pixels is refused with INVALID_ARGUMENT.""",
        objects=_codes,
        figures=_FIGURES,
        limits="bright objects on a black background, which add up where they overlap",
    ),
    "AIR3D": _Texts(
        about="""\
Counts the objects on a table and says of which kind they are, where they are and how
they are turned. Trained without labels with air_tf (Attend, Infer, Repeat, Eslami et
al. 2016).""",
        sizes=f"""\
- Pictures sent as bytes are resized to the canvas. Anything but a complete PNG or JPEG
  of at most {MAX_SERVED_PIXELS} pixels is refused with INVALID_ARGUMENT. So is an
  aspect ratio that differs from the canvas' by more than {MAX_STRETCH:.0%}, because the
  camera is fixed.""",
        objects=_kinds,
        figures=(
            *_FIGURES,
            _Figure("kind accuracy {}", "kind_accuracy", ".2%"),
            _Figure(
                "median error of positions {} of the table's width",
                "position_error",
                ".2%",
            ),
            _Figure("median error of yaws in degrees: {}", "yaw_error", ".1f"),
        ),
        limits="of the camera, light, table and kinds of objects in "
        "assets.extra/run/config.json",
    ),
}


def append_card(base: pathlib.Path, model: Exportable, section: str) -> None:
    """Adds the section of a version to the model card; starts a missing card."""
    card = base / CARD
    if not card.exists():
        card.write_text(_head(model), encoding="utf-8")
    with open(card, "a", encoding="utf-8") as file:
        file.write(section)


def _head(model: Exportable) -> str:
    texts = _TEXTS[model.answers.model]
    return f"""\
# {MODEL_NAME}

{texts.about}

To serve the largest version, with gRPC on port 8500 and REST on port 8501, run in this
folder

    {DOCKER_RUN}

or `docker compose up`.

| signature | inputs | outputs |
|---|---|---|
{_signature_rows(model)}
Outputs of a scene, float32 unless stated otherwise; those of absent objects are 0:

| output | shape | meaning |
|---|---|---|
{_output_rows(model)}
- A request holds B = 1 to {MAX_BATCH_SIZE} images.
- NaN pixels are replaced by 0; pixels outside [0, 1] are clamped.
{texts.sizes}{_windows(model)}
- With `--enable_batching`, TF Serving refuses all requests in a batch if it refuses
  one of them. If you do not trust your clients, leave the flag out, or check pictures
  before you send them, as `scripts/serving_client.py` does.
"""


def _windows(model: Exportable) -> str:
    if PICTURES.name not in model.constants:
        return ""
    return f"""
- The canvas is a window of larger pictures, prepared as `{PICTURES.name}` says (JSON):
  intensities of objects are near 1, of the ground 0. `scripts/serving_client.py` cuts
  the windows and merges the answers."""


def _constants(model: Exportable) -> tuple[Output, ...]:
    """Outputs that are the same for every picture."""
    own = (PICTURES,) if PICTURES.name in model.constants else ()
    return (*model.answers.constants, *own)


def _signature_rows(model: Exportable) -> str:
    large, constants = model.answers.large, _constants(model)
    drawn = [f"`{output.name}` float32 {output.shape}" for output in large]
    if model.latents and "canvas" not in model.answers.all_names:
        drawn.append("`canvas` float32 [B, H, W, C]")
    rows = [
        (
            "serving_default",
            "`image` float32 [B, H, W, C] in [0, 1]",
            "scenes, see below",
        ),
        (
            "serve_image_bytes",
            "`image_bytes` string [B], PNG or JPEG of any size",
            _listed("scenes", *(f"`{output.name}`" for output in constants)),
        ),
        ("reconstruct", "`image`", _listed("scenes", *drawn)),
    ]
    if model.latents:
        names = ", ".join(f"`{name}`" for name in model.latents)
        rows.append(("decode", f"{names}, as in scenes", "`canvas`"))
    return "".join(f"| `{name}` | {a} | {b} |\n" for name, a, b in rows)


def _listed(*items: str) -> str:
    *others, last = items
    return f"{', '.join(others)} and {last}" if others else last


def _output_rows(model: Exportable) -> str:
    return "".join(map(_output_row, (*model.answers.small, *_constants(model))))


def _output_row(output: Output) -> str:
    dtype = "" if output.dtype == "float32" else f" {output.dtype}"
    return f"| `{output.name}` | {output.shape}{dtype} | {output.meaning} |\n"


def card_section(
    version: int,
    model: Exportable,
    config: RunConfig,
    metrics: Mapping[str, Any],
    versions: Mapping[str, str],
) -> str:
    """The section of the model card about one version.

    Args:
      version: its number.
      model: what is exported.
      config: the run's settings.
      metrics: the run's metrics.json, measured on held-out images.
      versions: of the packages that the model was trained with.
    """
    training, texts = config.training, _TEXTS[model.answers.model]
    height, width, channels = config.model.image_shape
    figures = ", ".join(
        text.format(_figure(metrics.get(name), form))
        for text, name, form in texts.figures
    )
    lines = [
        f"\n## Version {version}\n",
        f"Canvas {height} x {width} x {channels}, at most {model.max_objects} objects "
        f"(T), {texts.objects(config.model)}.\n",
        f"- Data: `{config.data.dataset}`.",
        f"- Training: {training.steps} training steps of {training.batch_size} images, "
        f"learning rate {training.learning_rate:g}, seed {training.seed}, sigma "
        f"{_sigma(config, metrics)}, T = {config.model.max_objects}.",
        "- Trained with "
        + ", ".join(f"{name} {number}" for name, number in versions.items())
        + ".",
        f"- On {_figure(metrics.get('num_images'), ',')} held-out images: {figures}.",
        f"- Limits: use it for images like its training data: {texts.limits}. Its "
        "answers for other images are meaningless, and it does not warn about them.",
        "- Licence: the weights are under the licence of the data, air_tf under Apache "
        "2.0.",
    ]
    return "\n".join(lines) + "\n"


def _sigma(config: RunConfig, metrics: Mapping[str, Any]) -> str:
    """As it was set, or what was learned."""
    given = config.model.likelihood_scale
    if isinstance(given, str):
        return f"{_figure(metrics.get('likelihood_scale'), '.3g')} ({given})"
    return f"{given:g}"


def _figure(value: Any, form: str) -> str:
    if value is None:
        return "unavailable"
    if isinstance(value, Mapping):
        return (
            ", ".join(f"{name} {one:{form}}" for name, one in value.items()) or "none"
        )
    return format(value, form)
