"""The machine that a time was measured on."""

import os
import platform
from collections.abc import Mapping
from typing import Any

import tensorflow as tf


def machine() -> dict[str, Any]:
    """The CPUs that this process may use, their kind, the GPUs' names, and Python."""
    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    return {
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "gpus": [one.get("device_name", "GPU") for one in details],
        "python": platform.python_version(),
    }


def format_machine(found: Mapping[str, Any]) -> str:
    """What trains: the GPUs, or the CPUs if there are none."""
    cpus = f"{found['cpus']} CPUs ({found['processor']})"
    return ", ".join(found["gpus"]) or cpus
