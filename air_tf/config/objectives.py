"""The registry of objectives, and their settings.

The objective `NAME` is implemented in `air_tf/objectives/NAME.py`. Settings are
separate from the implementation, so that programs define flags without TensorFlow.
"""

import dataclasses

from air_tf.config import checks
from air_tf.config.checks import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Base class of the settings of an objective."""


COUNT_UPDATES = ("cross_entropy", "objects", "gradient")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EnumerationConfig(ObjectiveConfig):
    """The ELBO with the count summed out exactly.

    Settings that are None get the default of the form of inference, see
    `RunConfig.objective`.
    """

    count_update: str | None = setting(
        None,
        "How q(n) is updated: by a cross-entropy loss from the posterior of the count, "
        "given the samples of the objects (cross_entropy), or for every attend step "
        "from whether its object pays (objects), or by the gradient of the bound "
        "(gradient). Default: cross_entropy with --inference=difference, gradient with "
        "--inference=recurrent.",
    )
    count_loss_weight: float | None = setting(
        None,
        "Weight of the loss of --count_update=cross_entropy or objects. Default: 10.",
    )
    move_blank_steps: bool | None = setting(
        None,
        "Whether blank attend steps, which count as an object but draw nothing, are "
        "moved behind the others. Default: true with --inference=recurrent, else "
        "false.",
    )

    def __post_init__(self):
        if self.count_update is not None:
            checks.require_choice(self, "count_update", COUNT_UPDATES)
        if self.count_loss_weight is not None:
            checks.require(
                self.count_update != "gradient",
                self,
                "count_loss_weight",
                "nothing unless `count_update` is cross_entropy or objects",
            )
            checks.require_positive(self, "count_loss_weight")
        if self.move_blank_steps is not None:
            checks.require_bool(self, "move_blank_steps")

    def for_inference(self, inference: str) -> "EnumerationConfig":
        """A copy with defaults for the form of inference instead of None."""
        update, move = self.count_update, self.move_blank_steps
        if update is None:
            update = "cross_entropy" if inference == "difference" else "gradient"
        weight = self.count_loss_weight
        if update != "gradient" and weight is None:
            weight = 10.0
        return EnumerationConfig(
            count_update=update,
            count_loss_weight=weight,
            move_blank_steps=inference == "recurrent" if move is None else move,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReinforceConfig(ObjectiveConfig):
    """The score-function estimator without a baseline."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class NVILConfig(ObjectiveConfig):
    """The score-function estimator with a learned baseline."""

    baseline_pooling: int = setting(
        2,
        "Side in pixels of the squares over which the residual image is averaged for "
        "the baseline.",
    )
    baseline_units: tuple[int, ...] = setting((200,), "Hidden layers of the baseline.")
    baseline_unit: float = setting(
        50.0, "Factor from the output of the baseline network to nats."
    )
    baseline_learning_rate: float = setting(
        1e-3, "Learning rate of the baseline network, with its own Adam."
    )
    signal_decay: float = setting(
        0.8,
        "Decay per training step of the running moments that centre and scale the "
        "learning signal.",
    )
    min_signal_scale: float = setting(
        1.0, "Lower bound in nats of the scale that divides the learning signal."
    )

    def __post_init__(self):
        checks.require_int(self, "baseline_pooling", 1)
        checks.require_ints(self, "baseline_units", None)
        for name in ("baseline_unit", "baseline_learning_rate", "min_signal_scale"):
            checks.require_positive(self, name)
        ok = checks.is_number(self.signal_decay) and 0 <= self.signal_decay < 1
        checks.require(ok, self, "signal_decay", "a number from 0 to below 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _ParticlesConfig(ObjectiveConfig):
    num_particles: int = setting(5, "K, the number of samples of q for each image.")

    def __post_init__(self):
        checks.require_int(self, "num_particles", 2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class VIMCOConfig(_ParticlesConfig):
    """The score-function estimator of a bound of K samples."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConcreteConfig(ObjectiveConfig):
    """Relaxed Bernoulli presence, with a temperature that falls geometrically."""

    initial_temperature: float = setting(1.0, "Temperature at the start of training.")
    final_temperature: float = setting(0.1, "Temperature at the end of training.")

    def __post_init__(self):
        for name in ("initial_temperature", "final_temperature"):
            checks.require_positive(self, name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class IWAEConfig(_ParticlesConfig):
    """The importance-weighted bound of K samples, with the count summed out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TabletopObjectiveConfig(ObjectiveConfig):
    """What objectives of 3D scenes share.

    Blur and likelihood scale fall during training: see `air_tf.objectives.annealing`.
    """

    initial_blur: float = setting(
        1.0, "Width of the objects' edges at the start of training, in pixels."
    )
    blur_share: float = setting(
        0.12, "Share of the training steps in which it falls to --blur."
    )
    initial_likelihood_scale: float = setting(
        0.2, "Standard deviation of a pixel at the start of training."
    )
    scale_share: float = setting(
        0.2, "Share of the training steps in which it falls to --likelihood_scale."
    )
    max_gradient_norm: float = setting(
        10.0, "Norm to which the gradient of all weights is clipped."
    )
    mask_loss_weight: float = setting(
        1.0, "Weight of the squared errors of the masks' pixels."
    )

    def __post_init__(self):
        for name in (
            "initial_blur",
            "initial_likelihood_scale",
            "max_gradient_norm",
            "mask_loss_weight",
        ):
            checks.require_positive(self, name)
        for name in ("blur_share", "scale_share"):
            checks.require_share(self, name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class KindEnumerationConfig(TabletopObjectiveConfig):
    """For 3D scenes: the bound with the count and the kinds summed out exactly."""

    explore_share: float = setting(
        0.2,
        "Share of the training steps in which counts above 0 keep a weight although "
        "they explain less.",
    )
    posterior_loss_weight: float = setting(
        20.0,
        "Weight of the cross-entropy losses that train q(n) and q(kind) on their "
        "posterior.",
    )
    yaw_proposals: int = setting(
        12,
        "Yaws tried for one object of each image in a training step; q(yaw) learns "
        "the one that explains most. 0: yaws learn from the gradient alone.",
    )

    def __post_init__(self):
        super().__post_init__()
        checks.require_positive(self, "posterior_loss_weight")
        checks.require_share(self, "explore_share")
        checks.require_int(self, "yaw_proposals", 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class KindNVILConfig(TabletopObjectiveConfig, NVILConfig):
    """For 3D scenes: NVIL for count and kind, as in the paper."""

    given_share: float = setting(
        0.8,
        "Share of the training steps in which the first object of every image is "
        "present, and no decision of q: an object in a wrong place, of a wrong kind or "
        "turned wrongly explains less than none.",
    )

    def __post_init__(self):
        TabletopObjectiveConfig.__post_init__(self)
        ok = checks.is_number(self.given_share) and 0 <= self.given_share <= 1
        checks.require(ok, self, "given_share", "a number from 0 to 1")
        NVILConfig.__post_init__(self)


OBJECTIVES: dict[str, type[ObjectiveConfig]] = {
    "enumeration": EnumerationConfig,
    "nvil": NVILConfig,
    "reinforce": ReinforceConfig,
    "vimco": VIMCOConfig,
    "concrete": ConcreteConfig,
    "iwae": IWAEConfig,
    "kind_enumeration": KindEnumerationConfig,
    "kind_nvil": KindNVILConfig,
}


# Those of 3D scenes; the others are of two-dimensional ones.
OBJECTIVES_3D = ("kind_enumeration", "kind_nvil")


def objective_name(config: ObjectiveConfig) -> str:
    """The name of an objective in `OBJECTIVES`."""
    return checks.choice_name(config, OBJECTIVES)
