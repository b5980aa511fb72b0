"""The workers that train together, as `TF_CONFIG` names them.

Launchers of TensorFlow (Kubernetes' operators, Vertex AI, Ray Train) set this variable
of the environment for every worker:
https://www.tensorflow.org/guide/distributed_training#TF_CONFIG
"""

import dataclasses
import json
import os
from typing import Any

from air_tf.config.checks import is_int, one_of
from air_tf.errors import InputError

_NAME = "TF_CONFIG"
# Of the chief, and of the others, in this order.
_JOBS = ("chief", "worker")
DISTRIBUTIONS = ("auto", "none", "mirrored", "multi_worker")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Workers, each a process.

    Attributes:
      addresses: HOST:PORT of each, that of the chief first.
      number: of this one, from 0 on.
    """

    addresses: tuple[str, ...]
    number: int

    @property
    def is_chief(self) -> bool:
        """Whether this worker alone reads and writes the folder of the run."""
        return self.number == 0


def cluster_of(distribute: str) -> Cluster | None:
    """The workers to train with; None for this process alone.

    Args:
      distribute: one of `DISTRIBUTIONS`.

    Raises:
      InputError: for another, for a `TF_CONFIG` that can't be used, or without one if
        `distribute` is multi_worker.
    """
    if distribute not in DISTRIBUTIONS:
        text = f"is {distribute!r}; expected {one_of(DISTRIBUTIONS)}"
        raise InputError(text, field="distribute")
    if distribute not in ("auto", "multi_worker"):
        return None
    cluster = read_cluster(os.environ.get(_NAME, ""))
    if cluster is None and distribute == "multi_worker":
        raise InputError(
            f"is multi_worker; expected {_NAME} in the environment, with the addresses "
            "of all workers",
            field="distribute",
        )
    return cluster


def read_cluster(text: str) -> Cluster | None:
    """Reads `TF_CONFIG`; None if it names no workers.

    Raises:
      InputError: for one that can't be used.
    """
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise InputError(f"is not JSON ({error})", field=_NAME) from None
    if not isinstance(found, dict) or not isinstance(found.get("cluster", {}), dict):
        raise InputError(
            "is malformed; expected an object with cluster and task", field=_NAME
        )
    jobs = found.get("cluster", {})
    if not jobs:
        return None
    for job, addresses in jobs.items():
        if job not in _JOBS:
            raise InputError(
                f"names {job} tasks; expected only {one_of(_JOBS)}, which train "
                "together",
                field=_NAME,
            )
        if not isinstance(addresses, list) or not all(map(_is_address, addresses)):
            raise InputError(
                f"has {json.dumps(addresses)} as cluster.{job}; expected a list of "
                '"HOST:PORT"',
                field=_NAME,
            )
    everyone = [address for job in _JOBS for address in jobs.get(job, [])]
    if len(jobs.get("chief", [])) > 1 or len(set(everyone)) < len(everyone):
        raise InputError(
            "names one address twice, or two chiefs; expected a different address for "
            "each worker, and at most one chief",
            field=_NAME,
        )
    return Cluster(tuple(everyone), _number(found.get("task"), jobs))


def _is_address(address: Any) -> bool:
    if not isinstance(address, str):
        return False
    host, _, port = address.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 2**16


def _number(task: Any, jobs: dict[str, list[str]]) -> int:
    """Of the worker that `task` describes."""
    task = task if isinstance(task, dict) else {}
    job, index = task.get("type"), task.get("index")
    size = len(jobs.get(job, ())) if isinstance(job, str) else 0
    if not is_int(index) or not 0 <= index < size:
        raise InputError(
            f"has type {json.dumps(job)} and index {json.dumps(index)} as its task; "
            f"expected those of a worker in its cluster, which has "
            f"{_in_words(jobs)}",
            field=_NAME,
        )
    return index if job == "chief" else len(jobs.get("chief", [])) + index


def _in_words(jobs: dict[str, list[str]]) -> str:
    return ", ".join(f"{len(jobs[job])} of type {job}" for job in _JOBS if job in jobs)
