"""TFDS dataset `multi_digits`."""

from air_tf.data.multi_digits.multi_digits_dataset_builder import Builder as Builder
