"""TFDS dataset `multi_dsprites`."""

from air_tf.data.multi_dsprites.multi_dsprites_dataset_builder import Builder as Builder
