"""TFDS dataset `tetrominoes`."""

from air_tf.data.tetrominoes.tetrominoes_dataset_builder import Builder as Builder
