"""The files beside the versions of an exported model: TF Serving's settings and a
model card."""

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
    """Writes the settings files that do not exist yet; users may edit them.

    Args:
      base: the folder of the versions.

    Returns:
      The names of existing files that differ from the default.
    """
    kept = []
    for name, text in SETTINGS.items():
        file = base / name
        if not file.exists():
            file.write_text(text, encoding="utf-8")
        elif file.read_bytes() != text.encode():
            kept.append(name)
    return kept


def append_card(base: pathlib.Path, section: str) -> None:
    """Adds the section of a version to the model card; starts a missing card."""
    card = base / CARD
    if not card.exists():
        card.write_text(_CARD_HEAD, encoding="utf-8")
    with open(card, "a", encoding="utf-8") as file:
        file.write(section)


_CARD_HEAD = f"""\
# {MODEL_NAME}

Counts the objects in images, locates them and encodes their appearance. Trained
without labels with air_tf (Attend, Infer, Repeat, Eslami et al. 2016).

To serve the largest version, with gRPC on port 8500 and REST on port 8501, run in this
folder

    {DOCKER_RUN}

or `docker compose up`.

| signature | inputs | outputs |
|---|---|---|
| `serving_default` | `image` float32 [B, H, W, C] in [0, 1] | scenes, see below |
| `serve_image_bytes` | `image_bytes` string [B], PNG or JPEG of any size | scenes |
| `reconstruct` | `image` | scenes and `canvas` float32 [B, H, W, C] |
| `decode` | `z_where`, `z_what`, `presence`, as in scenes | `canvas` |

Outputs of a scene, float32 unless stated otherwise; those of absent objects are 0:

| output | shape | meaning |
|---|---|---|
| `num_objects` | [B] int32 | the most probable count |
| `num_objects_probs` | [B, T + 1] | probabilities of 0 to T objects |
| `boxes` | [B, T, 4] | (ymin, xmin, ymax, xmax) as fractions of the image |
| `presence` | [B, T] | 1 for the first `num_objects` objects, then 0 |
| `z_where` | [B, T, 3] | (scale, shift_y, shift_x) of each object |
| `z_what` | [B, T, D] | appearance code of each object |
| `num_trips` | [B] int32 | attend steps that the image's batch took |

- A request holds B = 1 to {MAX_BATCH_SIZE} images.
- NaN pixels are replaced by 0; pixels outside [0, 1] are clamped.
- Pictures sent as bytes are stretched to the canvas. Anything but a complete PNG or
  JPEG of at most {MAX_SERVED_PIXELS} pixels is refused with INVALID_ARGUMENT.
- With `--enable_batching`, TF Serving refuses all requests in a batch if it refuses
  one of them. If you do not trust your clients, leave the flag out, or check pictures
  before you send them, as `scripts/serving_client.py` does.
"""


def card_section(
    version: int,
    config: RunConfig,
    max_objects: int,
    metrics: Mapping[str, Any],
    versions: Mapping[str, str],
) -> str:
    """The section of the model card about one version.

    Args:
      version: its number.
      config: the run's settings.
      max_objects: T of the export.
      metrics: the run's metrics.json, measured on held-out images.
      versions: of the packages that the model was trained with.
    """
    model, training = config.model, config.training
    height, width, channels = model.image_shape

    def figure(name: str, form: str) -> str:
        value = metrics.get(name)
        return "unavailable" if value is None else format(value, form)

    lines = [
        f"\n## Version {version}\n",
        f"Canvas {height} x {width} x {channels}, at most {max_objects} objects (T), "
        f"codes of {model.z_what_size} numbers (D).\n",
        f"- Data: `{config.data.dataset}`.",
        f"- Training: {training.steps} training steps of {training.batch_size} images, "
        f"learning rate {training.learning_rate:g}, seed {training.seed}, sigma "
        f"{model.likelihood_scale:g}, T = {model.max_objects}.",
        "- Trained with "
        + ", ".join(f"{name} {number}" for name, number in versions.items())
        + ".",
        f"- On {figure('num_images', ',')} held-out images: count accuracy "
        f"{figure('count_accuracy', '.2%')}, ELBO {figure('elbo', '.1f')} nats, mean "
        f"IoU {figure('mean_iou', '.3f')}, AP at 0.5 {figure('ap_50', '.3f')}.",
        "- Limits: use it for images like its training data: bright objects on a black "
        "background, which add up where they overlap. Its answers for other images "
        "are meaningless, and it does not warn about them.",
        "- Licence: the weights are under the licence of the data, air_tf under Apache "
        "2.0.",
    ]
    return "\n".join(lines) + "\n"
