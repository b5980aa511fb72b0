"""TFDS dataset `nuclei`."""

from air_tf.data.nuclei.nuclei_dataset_builder import Builder as Builder
