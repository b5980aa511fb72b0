"""TFDS dataset `tabletop`."""

from air_tf.data.tabletop.tabletop_dataset_builder import Builder as Builder
