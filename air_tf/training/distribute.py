"""Training on several devices, of one machine or of several: `tf.distribute`.

Replicas, one for each device, share every training step: each estimates the gradient
of its part of the batch, and all apply the mean. Their noise is that of the whole batch
(`air_tf.model.replicas`), so n replicas learn what one would, up to rounding.

Of several workers, each a process with its devices, the first is the chief. Only the
chief reads and writes the folder of a run; the others get from it what they need.
"""

import contextlib
import errno
import functools
import json
import socket
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf
from absl import logging

from air_tf.config import NVILConfig, RunConfig, differing_settings
from air_tf.config.cluster import Cluster, cluster_of
from air_tf.errors import AirTFError, InputError, ProcessKilled
from air_tf.runs import versions

T = TypeVar("T")
# What collective operations raise if another worker is gone.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
)


class Replicas:
    """The devices of this process, which train a model together.

    Args:
      strategy: of `tf.distribute`; None for one device.
    """

    is_chief = True

    def __init__(self, strategy: tf.distribute.Strategy | None = None):
        self.strategy: Any = strategy

    @property
    def number(self) -> int:
        return 1 if self.strategy is None else self.strategy.num_replicas_in_sync

    def scope(self) -> contextlib.AbstractContextManager:
        """In which variables have to be made."""
        if self.strategy is None:
            return contextlib.nullcontext()
        return self.strategy.scope()

    def batches(
        self, make: Callable[[tf.distribute.InputContext], tf.data.Dataset]
    ) -> Any:
        """What `fit` takes: the replicas' parts of endless batches."""
        if self.strategy is None:
            return make(tf.distribute.InputContext())
        return self.strategy.distribute_datasets_from_function(make)

    def together(self, function: Callable[[], T]) -> T:
        """Calls a function in every worker; what one raises ends all.

        Raises:
          InputError: if it raised an AirTFError in another worker; or what it raises.
        """
        return function()

    def in_chief(self, function: Callable[[], T]) -> T:
        """Calls a function in the chief; all workers get what it returns or raises.

        Args:
          function: what it returns must be such that JSON can hold it.

        Raises:
          InputError: in the other workers, for an AirTFError of the chief.
        """
        return function()

    def require_same(self, config: RunConfig, fingerprint: Callable[[], str]) -> None:
        """Raises InputError if a worker would train something else than the chief.

        Args:
          config: of the run.
          fingerprint: gives that of the training images.
        """

    def share(self, variables: Sequence[tf.Variable]) -> None:
        """Gives variables the values that they have in the chief."""

    def lost_workers_named(self) -> contextlib.AbstractContextManager:
        """Turns what TensorFlow raises when another worker ends into ProcessKilled."""
        return contextlib.nullcontext()


class Workers(Replicas):
    """The devices of several workers.

    Args:
      strategy: of `tf.distribute`.
      cluster: the workers.
    """

    def __init__(self, strategy: tf.distribute.Strategy, cluster: Cluster):
        super().__init__(strategy)
        self._cluster = cluster
        self.is_chief = cluster.is_chief

    def together(self, function):
        result, error = None, None
        try:
            result = function()
        except AirTFError as found:
            error = found
        texts = self._tell("" if error is None else str(error))
        if error is not None:
            raise error
        for number, text in enumerate(texts):
            if text:
                raise InputError(f"worker {self._address(number)} can't train: {text}")
        return result

    def in_chief(self, function):
        result = self.together(lambda: function() if self.is_chief else None)
        return json.loads(self._tell(json.dumps(result))[0])

    def require_same(self, config, fingerprint):
        own = {
            "config": config.to_dict(),
            "versions": versions(),
            "images": fingerprint(),
        }
        chief, *others = [json.loads(text) for text in self._tell(json.dumps(own))]
        for number, found in enumerate(others, start=1):
            differing = differing_settings(chief["config"], found["config"])
            differing += [
                f"the version of {package} (there {found['versions'].get(package)}, "
                f"here {version})"
                for package, version in chief["versions"].items()
                if found["versions"].get(package) != version
            ]
            if found["images"] != chief["images"]:
                differing.append("the training images")
            if differing:
                raise InputError(
                    f"seen from the chief, worker {self._address(number)} differs in "
                    f"{', '.join(differing)}; expected the same for all workers"
                )

    def share(self, variables):
        def of_chief() -> list[tf.Tensor]:
            context = tf.distribute.get_replica_context()
            first = tf.equal(context.replica_id_in_sync_group, 0)
            values = [
                tf.where(first, value, tf.zeros_like(value))
                for value in map(tf.convert_to_tensor, variables)
            ]
            return [context.all_reduce(tf.distribute.ReduceOp.SUM, v) for v in values]

        run = tf.function(lambda: self.strategy.run(of_chief), autograph=False)
        for variable, value in zip(variables, run(), strict=True):
            variable.assign(self.strategy.experimental_local_results(value)[0])

    @contextlib.contextmanager
    def lost_workers_named(self):
        try:
            yield
        except _LOST as error:
            raise _lost(error) from error

    def _tell(self, text: str) -> list[str]:
        """What every worker tells, in the order of their numbers. All wait for it."""
        codes = np.frombuffer((text + "\0").encode(), np.uint8).astype(np.int64)
        mine = self.strategy.experimental_distribute_values_from_function(
            lambda _: tf.constant(codes)
        )
        found = self.strategy.gather(mine, axis=0).numpy().astype(np.uint8)
        texts = found.tobytes().decode().split("\0")[:-1]
        # Every replica of a worker tells the same.
        return texts[:: len(texts) // len(self._cluster.addresses)]

    def _address(self, number: int) -> str:
        return f"{number} ({self._cluster.addresses[number]})"


def start(distribute: str, config: RunConfig) -> Replicas:
    """The replicas to train with. TensorFlow wants this before any operation.

    Waits until all workers have started.

    Args:
      distribute: one of `DISTRIBUTIONS`. "auto" is "multi_worker" if `TF_CONFIG` names
        workers, "mirrored" if there are several GPUs, else "none".
      config: of the run.

    Raises:
      InputError: for what can't train together.
      ProcessKilled: if a worker does not come.
    """
    cluster = cluster_of(distribute)
    replicas = Replicas()
    if cluster is not None and len(cluster.addresses) > 1:
        _require_number(config, len(cluster.addresses))
        replicas = Workers(_connect(cluster), cluster)
    else:
        devices = _devices(distribute)
        if len(devices) < 2:
            return replicas
        _require_number(config, len(devices))
        replicas = Replicas(_mirrored(tuple(devices)))
    _require_number(config, replicas.number)
    logging.info("Training on %d replicas.", replicas.number)
    return replicas


def _devices(distribute: str) -> list[str]:
    """Those of this machine to train on, if they are several."""
    if distribute == "none":
        return []
    devices = [device.name for device in tf.config.list_logical_devices("GPU")]
    if distribute == "mirrored":
        # CPUs are several only where a program has divided them, as tests do.
        devices = devices or [cpu.name for cpu in tf.config.list_logical_devices("CPU")]
        if len(devices) < 2:
            raise InputError(
                f"is mirrored; expected several GPUs, found {devices[0]}",
                field="distribute",
            )
    return devices


def _require_number(config: RunConfig, number: int) -> None:
    """Raises InputError for a run that can't be trained on so many replicas."""
    batch_size = config.training.batch_size
    if batch_size % number:
        raise InputError(
            f"is {batch_size}; expected a multiple of {number}, the number of "
            "replicas, which share each batch",
            field="batch_size",
        )
    if isinstance(config.objective, NVILConfig) and config.training.jit_compile:
        raise InputError(
            "is true; expected false with `objective` nvil or kind_nvil on several "
            "replicas: XLA can't sum over replicas",
            field="jit_compile",
        )


# Once in a process: a second strategy would use the first one's names of operations.
@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(devices)


@functools.cache
def _connect(cluster: Cluster) -> tf.distribute.Strategy:
    """Starts this worker, and waits for the others."""
    own = cluster.addresses[cluster.number]
    _require_free_port(own)
    logging.info(
        "Worker %d of %d, at %s, waits for the others: %s.",
        cluster.number,
        len(cluster.addresses),
        own,
        ", ".join(cluster.addresses),
    )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except _LOST as error:
        raise _lost(error) from error


def _require_free_port(address: str) -> None:
    """Raises InputError if another program listens there. TensorFlow would share it."""
    port = int(address.rpartition(":")[2])
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            reason = "is in use" if error.errno == errno.EADDRINUSE else error.strerror
            raise InputError(
                f"gives this worker the address {address}, whose port {reason}; "
                "expected a free one",
                field="TF_CONFIG",
            ) from None


def replica_means(values: T) -> T:
    """Means over all replicas of tensors of any structure; None stays None."""
    flat = tf.nest.flatten(values)
    means = iter(
        tf.distribute.get_replica_context().all_reduce(
            tf.distribute.ReduceOp.MEAN, [x for x in flat if x is not None]
        )
    )
    flat = [x if x is None else next(means) for x in flat]
    return tf.nest.pack_sequence_as(values, flat)


def _lost(error: tf.errors.OpError) -> ProcessKilled:
    return ProcessKilled(
        "another worker has ended, or can't be reached "
        f"({type(error).__name__}); start all workers again to resume"
    )
