"""TFDS dataset `multi_mnist`."""

from air_tf.data.multi_mnist.multi_mnist_dataset_builder import Builder as Builder
