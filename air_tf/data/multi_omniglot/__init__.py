"""TFDS dataset `multi_omniglot`."""

from air_tf.data.multi_omniglot.multi_omniglot_dataset_builder import Builder as Builder
