"""Trained models outside of Python: SavedModels for TF Serving, LiteRT for devices.

Importing this needs no TensorFlow: devices have numpy, Pillow and ai-edge-litert.
"""

from air_tf.deployment.edge import EdgeModel

__all__ = ["EdgeModel"]
