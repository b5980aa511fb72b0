"""Settings with their defaults, checked when they are set."""

from air_tf.config.canvas import (
    BACKGROUNDS,
    COMPOSITIONS,
    AdditiveConfig,
    AlphaConfig,
    BlackConfig,
    ConstantConfig,
    LearnedConfig,
    StripedConfig,
)
from air_tf.config.model import (
    INFERENCES,
    AIRConfig,
    DifferenceConfig,
    RecurrentConfig,
)
from air_tf.config.model3d import AIR3DConfig
from air_tf.config.objectives import (
    OBJECTIVES,
    ConcreteConfig,
    EnumerationConfig,
    IWAEConfig,
    NVILConfig,
    ReinforceConfig,
    VIMCOConfig,
    objective_name,
)
from air_tf.config.pictures import PictureConfig
from air_tf.config.presets import PRESETS, Preset
from air_tf.config.run import (
    DataConfig,
    RunConfig,
    TrainingConfig,
    differing_settings,
)

__all__ = [
    "BACKGROUNDS",
    "COMPOSITIONS",
    "INFERENCES",
    "OBJECTIVES",
    "PRESETS",
    "AIR3DConfig",
    "AIRConfig",
    "AdditiveConfig",
    "AlphaConfig",
    "BlackConfig",
    "ConcreteConfig",
    "ConstantConfig",
    "DataConfig",
    "DifferenceConfig",
    "EnumerationConfig",
    "IWAEConfig",
    "LearnedConfig",
    "NVILConfig",
    "PictureConfig",
    "Preset",
    "RecurrentConfig",
    "ReinforceConfig",
    "RunConfig",
    "StripedConfig",
    "TrainingConfig",
    "VIMCOConfig",
    "differing_settings",
    "objective_name",
]
