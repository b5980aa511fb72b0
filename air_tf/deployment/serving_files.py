"""What lies beside the versions of an exported model: TF Serving's settings, and
a model card."""

import pathlib
from collections.abc import Mapping
from typing import Any

from air_tf.config import RunConfig
from air_tf.deployment.signatures import MAX_BATCH_SIZE
from air_tf.images import MAX_SERVED_PIXELS

MODEL_NAME = "air"
CARD = "README.md"

MODELS_CONFIG = f"""\
model_config_list {{
  config {{
    name: "{MODEL_NAME}"
    base_path: "/models/{MODEL_NAME}"
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
"""

BATCHING_PARAMETERS = f"""\
max_batch_size {{ value: {MAX_BATCH_SIZE} }}
batch_timeout_micros {{ value: 2000 }}
num_batch_threads {{ value: 2 }}
max_enqueued_batches {{ value: 100 }}
""" + "".join(
    f"allowed_batch_sizes: {size}\n"
    for size in (1, 2, 4, 8, 16, 32, 64)
    if size <= MAX_BATCH_SIZE
)

MONITORING_CONFIG = """\
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""

_FLAGS = (
    f"--model_config_file=/models/{MODEL_NAME}/models.config",
    "--enable_batching",
    f"--batching_parameters_file=/models/{MODEL_NAME}/batching_parameters.pbtxt",
    f"--monitoring_config_file=/models/{MODEL_NAME}/monitoring.config",
)

COMPOSE = (
    f"""\
services:
  {MODEL_NAME}:
    image: tensorflow/serving
    command:
"""
    + "".join(f"      - {flag}\n" for flag in _FLAGS)
    + f"""\
    ports:
      - "127.0.0.1:8500:8500"
      - "127.0.0.1:8501:8501"
    volumes:
      - .:/models/{MODEL_NAME}:ro
    restart: unless-stopped
"""
)

DOCKER_RUN = (
    f"docker run --rm -p 127.0.0.1:8500:8500 -p 127.0.0.1:8501:8501 \\\n"
    f'        -v "$PWD:/models/{MODEL_NAME}:ro" tensorflow/serving \\\n        '
    + " \\\n        ".join(_FLAGS)
)

SETTINGS = {
    "models.config": MODELS_CONFIG,
    "batching_parameters.pbtxt": BATCHING_PARAMETERS,
    "monitoring.config": MONITORING_CONFIG,
    "compose.yaml": COMPOSE,
}


def write_settings(base: pathlib.Path) -> list[str]:
    """Writes the settings that are not there yet; those that are may be edited.

    Returns:
      The names of files that were kept and differ from what would be written.
    """
    kept = []
    for name, text in SETTINGS.items():
        file = base / name
        if not file.exists():
            file.write_text(text)
        elif file.read_text() != text:
            kept.append(name)
    return kept


def append_card(base: pathlib.Path, section: str) -> None:
    """Adds a version to the model card, and starts it if it is not there."""
    card = base / CARD
    if not card.exists():
        card.write_text(_CARD_HEAD)
    with open(card, "a") as file:
        file.write(section)


_CARD_HEAD = f"""\
# {MODEL_NAME}

Says of images how many objects there are, where they are and what they look like;
made by air_tf (Attend, Infer, Repeat, Eslami et al. 2016) without labels.

Serve it, from this folder:

    {DOCKER_RUN}

or `docker compose up`: gRPC on port 8500, REST on 8501, the largest version.

| signature | takes | gives |
|---|---|---|
| `serving_default` | `image` float32 [B, H, W, C] in [0, 1] | scenes, see below |
| `serve_image_bytes` | `image_bytes` string [B], PNG or JPEG of any size | scenes |
| `reconstruct` | `image` | scenes, and `canvas` float32 [B, H, W, C] |
| `decode` | `z_where`, `z_what`, `presence`, as in scenes | `canvas` |

Scenes: `num_objects` int32 [B]; `num_objects_probs` [B, T + 1]; `boxes`
[B, T, 4], (ymin, xmin, ymax, xmax) as fractions of the image; `presence` [B, T],
1 or 0; `z_where` [B, T, 3], (scale, shift_y, shift_x); `z_what` [B, T, D];
`num_trips` int32 [B], steps that the request's batch took. What is absent is 0.

B is 1 to {MAX_BATCH_SIZE}. Pixels that are NaN count as 0, those outside [0, 1] are
clamped. Pictures sent as bytes are stretched to the canvas; those that are no PNG
or JPEG, cut off, or of more than {MAX_SERVED_PIXELS} pixels are refused with
INVALID_ARGUMENT. TF Serving refuses with such a request all that it had put into
one batch with it: where clients can't be trusted, leave out `--enable_batching`, or
check pictures before they are sent, as `scripts/serving_client.py` does.
"""


def card_section(
    version: int,
    config: RunConfig,
    max_objects: int,
    metrics: Mapping[str, Any],
    versions: Mapping[str, str],
) -> str:
    """The part of the model card that is about one version.

    Args:
      version: its number.
      config: of the run.
      max_objects: T of the export.
      metrics: the run's metrics.json, figures on held-out images.
      versions: of the packages that the model was trained with.
    """
    model, training = config.model, config.training
    height, width, channels = model.image_shape

    def figure(name, form):
        value = metrics.get(name)
        return "not known" if value is None else format(value, form)

    lines = [
        f"\n## Version {version}\n",
        f"Canvas {height} x {width} x {channels}, at most {max_objects} objects (T), "
        f"codes of {model.z_what_size} numbers (D).\n",
        f"- Data: `{config.data.dataset}`.",
        f"- Training: {training.steps} steps of {training.batch_size} images, learning "
        f"rate {training.learning_rate:g}, seed {training.seed}, sigma "
        f"{model.likelihood_scale:g}, T = {model.max_objects}; with "
        + ", ".join(f"{name} {number}" for name, number in versions.items())
        + ".",
        f"- On {figure('num_images', ',')} held-out images: count accuracy "
        f"{figure('count_accuracy', '.2%')}, ELBO {figure('elbo', '.1f')} nats, mean "
        f"IoU {figure('mean_iou', '.3f')}, AP at 0.5 {figure('ap_50', '.3f')}.",
        "- Limits: for images like those; bright objects on a black ground, added up "
        "where they overlap. Of other images the answers mean nothing, and nothing "
        "says so.",
        "- Licence: that of the data for the weights; air_tf itself is Apache 2.0.",
    ]
    return "\n".join(lines) + "\n"
