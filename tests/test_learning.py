"""One short training, to notice when learning breaks."""

import keras
import numpy as np

from air_tf.config import SceneConfig, TrainingConfig
from air_tf.data.multi_digits import Builder
from air_tf.data.pipeline import training_batches
from air_tf.data.scenes import compose_scene
from air_tf.model.air import AIR
from air_tf.training.trainer import Trainer, make_optimizer


def _scenes(pool, split, num):
    scenes = [
        compose_scene(pool, SceneConfig(), split=split, index=i) for i in range(num)
    ]
    counts = np.array([len(scene.boxes) for scene in scenes])
    return np.stack([scene.image for scene in scenes]), counts


def test_it_learns_to_count(tmp_path):
    """600 steps of the default training; accuracy on scenes of digits held out.

    Measured: 98.0, 100.0 and 99.2 % with seeds 0, 1 and 2. Broken on purpose, with
    seed 0: 91.7 % with the sign of the count's KL turned around, 34.3 % with the
    prefix canvases off by one, 73.4 % with the gradient stopped through z_where.
    """
    pools = Builder(data_dir=tmp_path)._object_pools()
    images, _ = _scenes(pools["train"], 0, 8000)
    test_images, test_counts = _scenes(pools["test"], 2, 1000)
    settings = TrainingConfig(steps=600)
    keras.utils.set_random_seed(settings.seed)
    trainer = Trainer(AIR(), seed=settings.seed)
    trainer.compile(optimizer=make_optimizer(settings), jit_compile=True)
    batches = training_batches(
        images, batch_size=settings.batch_size, seed=settings.seed, first_step=0
    )
    trainer.fit(batches, steps_per_epoch=settings.steps, verbose=0, shuffle=False)
    inferred = trainer.air.infer(test_images).num_objects
    assert (inferred == test_counts).mean() > 0.95
