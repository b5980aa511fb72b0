"""TF Serving's settings, beside the versions of an exported model."""

import pathlib

from air_tf.deployment.signatures import MAX_BATCH_SIZE

MODEL_NAME = "air"
# The newest release. tests/test_older_tensorflow.py loads exports with its TensorFlow.
IMAGE = "tensorflow/serving:2.20.0"

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
    image: {IMAGE}
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
    f'        -v "$PWD:/models/{MODEL_NAME}:ro" {IMAGE} \\\n        '
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
