"""Trained models in production: SavedModels for TF Serving, LiteRT for devices."""

from air_tf.deployment.edge import EdgeModel

__all__ = ["EdgeModel"]
