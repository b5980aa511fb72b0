"""TFDS dataset `sprites`."""

from air_tf.data.sprites.sprites_dataset_builder import Builder as Builder
