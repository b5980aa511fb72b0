"""Trains on two virtual CPUs, and on one, with every objective; prints JSON.

A program of its own, since devices can't be divided once TensorFlow has used them.
"""

import json
import sys

import numpy as np
import tensorflow as tf

from air_tf.config import RunConfig
from air_tf.runs import make_model
from air_tf.training.batches import training_batches
from air_tf.training.distribute import Replicas, start
from air_tf.training.trainer import Trainer, make_optimizer


def _trained(config, images, replicas, steps):
    """The trainer after some steps, the model's first weights, and the last logs."""
    with replicas.scope():
        air = make_model(config)
    first = air.get_weights()
    trainer = Trainer(air, config.training, replicas)
    with replicas.scope():
        trainer.compile(
            optimizer=make_optimizer(config.training),
            jit_compile=config.training.jit_compile,
            steps_per_execution=steps,
        )
        trainer.optimizer.build(air.trainable_variables)
    given = {"batch_size": config.training.batch_size, "seed": 0, "first_step": 1}
    batches = replicas.batches(
        lambda context: training_batches(images, replicas=context, **given)
    )
    logs = trainer.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0)
    return trainer, first, {name: value[-1] for name, value in logs.history.items()}


def _compare(config, images, eagerly, steps):
    """Largest differences between one device and two."""
    tf.config.run_functions_eagerly(eagerly)
    one, first, logs = _trained(config, images, Replicas(), steps)
    two, same, other_logs = _trained(config, images, start("mirrored", config), steps)
    weights = [trainer.air.get_weights() for trainer in (one, two)]
    return {
        "first_weights": _difference(first, same),
        "learnt": _difference(first, weights[0]),
        "weights": _difference(*weights),
        "gradients": _relative(*(_moments(trainer) for trainer in (one, two))),
        "logs": _relative([*logs.values()], [*other_logs.values()]),
        "steps": [int(t.optimizer.iterations.numpy()) for t in (one, two)],
        "devices": max(
            _difference(*([copy.numpy()] for copy in variable.value.values))
            for variable in two.state
        ),
    }


def _moments(trainer):
    """The first moments of Adam, and the moments of NVIL's signal."""
    optimizers = [trainer.optimizer, trainer.network_optimizer]
    found = [v for one in optimizers if one is not None for v in one.variables]
    found = [v for v in found if v.path.endswith("momentum")]
    return [v.numpy() for v in found + trainer.objective.non_trainable_weights]


def _difference(ones, others):
    pairs = zip(ones, others, strict=True)
    return max(float(np.abs(np.subtract(a, b)).max()) for a, b in pairs if np.size(a))


def _relative(ones, others):
    """Relative to the largest number of the same array, or to 0.001."""
    return max(
        _difference([a], [b]) / max(float(np.abs(a).max()), 1e-3)
        for a, b in zip(ones, others, strict=True)
        if np.size(a)
    )


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, halves)
    images = np.load(sys.argv[1])
    for line in sys.stdin:
        job = json.loads(line)
        config = RunConfig.from_dict(job["config"])
        pictures = images[job["images"]]
        found = _compare(config, pictures, job["eagerly"], job["steps"])
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
