"""The machine that a time was measured on."""

import os
import platform
from typing import Any


def machine() -> dict[str, Any]:
    """The number of CPUs that this process may use, the processor, and Python."""
    return {
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
    }
