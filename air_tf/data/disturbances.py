"""What makes finished scenes harder: a grid, less contrast, and noise.

The recipes are those of SuPAIR (Stelzner, Peharz and Kersting 2019, "Faster
Attend-Infer-Repeat with Tractable Probabilistic Models"), as in `src/datasets.py` of
the authors' code, https://github.com/stelzner/supair.
"""

import numpy as np

from air_tf.data.scene_config import SceneConfig
from air_tf.images import to_uint8


def disturb(
    image: np.ndarray, config: SceneConfig, rng: np.random.Generator
) -> np.ndarray:
    """Draws the grid, maps the range of pixels, then adds noise, as `config` says.

    Draws no random numbers for what `config` does not ask for.

    Args:
      image: [H, W, C] uint8.
      config: of the scene.
      rng: of the scene, after everything else is drawn.

    Returns:
      [H, W, C] uint8.
    """
    darkest, brightest = config.pixel_range
    if not (config.grid or config.noise or (darkest, brightest) != (0.0, 1.0)):
        return image
    pixels = image / 255.0
    if config.grid:
        top, left = rng.integers(config.grid_spacing, size=2)
        rows = slice(top, None, config.grid_spacing)
        columns = slice(left, None, config.grid_spacing)
        pixels[rows] = np.maximum(pixels[rows], config.grid)
        pixels[:, columns] = np.maximum(pixels[:, columns], config.grid)
    pixels = darkest + (brightest - darkest) * pixels
    if config.noise:
        pixels += rng.normal(0.0, config.noise, size=pixels.shape)
    return to_uint8(pixels)
