"""What a timing has to be read with."""

import os
import platform
from typing import Any


def machine() -> dict[str, Any]:
    return {
        "cpus": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
    }
