"""Settings of the study of few labels: everything that changes its results."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from air_tf.config import checks
from air_tf.config.checks import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class FewLabelsConfig:
    """How the methods learn; AIR's own settings are those of its run.

    Shares of training steps and rates are relative to those of the networks that
    answer a task, `task_...`. All convolutions but a network's last one have stride 2.
    """

    num_unlabelled: int = setting(
        40_000,
        "Images without labels, out of those that AIR was trained on, for the "
        "contrastive codes and the autoencoder. The search for neighbours takes time "
        "in proportion to its square.",
    )
    task_batch_size: int = setting(64, "Scenes in a training step of a task.")
    task_learning_rate: float = setting(
        1e-3, "Initial learning rate of a task; it falls to 0 by a cosine."
    )
    task_min_steps: int = setting(2000, "Training steps of a task, at least.")
    task_epochs: int = setting(
        5, "Passes over the labelled scenes of a task, at least."
    )
    task_units: int = setting(256, "Units of the hidden layers that answer a task.")
    class_units: int = setting(
        32, "Units of the softmax bottleneck that each object's code goes through."
    )
    cnn_filters: tuple[int, ...] = setting(
        (16, 32, 64, 96),
        "Filters of the convolutions of cnn; the last has size 3 and stride 1.",
    )
    # Its images are warped, so no two steps see the same ones: with as many steps as
    # the other methods it has learnt half of what it can.
    cnn_steps_share: float = setting(
        3.0, "Training steps of cnn, relative to those of the other methods."
    )
    tuning_steps_share: float = setting(
        0.25, "Training steps of fine-tuning, relative to those before it."
    )
    tuning_rate_share: float = setting(
        0.1, "Initial learning rate of fine-tuning, relative to that before it."
    )
    contrastive_size: int = setting(64, "Size of the contrastive codes.")
    contrastive_filters: tuple[int, ...] = setting(
        (32, 64), "Filters of the convolutions of the contrastive encoder."
    )
    contrastive_units: int = setting(
        256, "Units of the hidden layer of the contrastive encoder."
    )
    contrastive_neighbours: int = setting(
        5, "Number of an object's nearest neighbours by z_what that are its positives."
    )
    contrastive_temperature: float = setting(
        0.5, "Temperature of the softmax over cosines in the contrastive loss."
    )
    contrastive_batch_size: int = setting(
        256, "Pairs of objects in a training step of the contrastive encoder."
    )
    contrastive_steps: int = setting(2000, "Training steps of the contrastive encoder.")
    contrastive_learning_rate: float = setting(
        2e-3,
        "Initial learning rate of the contrastive encoder; it falls to 0 by a cosine.",
    )
    warp_rotation: float = setting(
        0.17, "Glimpses and scenes are rotated by at most this, in radians."
    )
    warp_shear: float = setting(0.15, "They are sheared by at most this.")
    warp_log_size: float = setting(
        0.1, "The logarithms of their height and width change by at most this."
    )
    warp_shift: float = setting(
        0.05, "They are shifted by at most this share of their height and width."
    )
    autoencoder_size: int = setting(100, "Size of the autoencoder's code.")
    autoencoder_filters: tuple[int, int] = setting(
        (16, 32), "Filters of the two convolutions of the autoencoder."
    )
    autoencoder_batch_size: int = setting(
        64, "Images in a training step of the autoencoder."
    )
    autoencoder_steps: int = setting(2000, "Training steps of the autoencoder.")
    autoencoder_learning_rate: float = setting(
        1e-3, "Learning rate of the autoencoder."
    )

    def __post_init__(self) -> None:
        for name in (
            "num_unlabelled",
            "task_batch_size",
            "task_min_steps",
            "task_units",
            "class_units",
            "contrastive_size",
            "contrastive_units",
            "contrastive_neighbours",
            "contrastive_batch_size",
            "contrastive_steps",
            "autoencoder_size",
            "autoencoder_batch_size",
            "autoencoder_steps",
        ):
            checks.require_int(self, name, 1)
        checks.require_int(self, "task_epochs", 0)
        for name in (
            "task_learning_rate",
            "cnn_steps_share",
            "tuning_steps_share",
            "contrastive_temperature",
            "contrastive_learning_rate",
            "autoencoder_learning_rate",
        ):
            checks.require_positive(self, name)
        for name in (
            "tuning_rate_share",
            "warp_rotation",
            "warp_shear",
            "warp_log_size",
            "warp_shift",
        ):
            value = getattr(self, name)
            ok = checks.is_number(value) and value >= 0
            checks.require(ok, self, name, "a number of at least 0")
        checks.require_ints(self, "autoencoder_filters", 2)
        for name in ("cnn_filters", "contrastive_filters"):
            checks.require_ints(self, name, None)
            value = getattr(self, name)
            checks.require(len(value) > 0, self, name, "at least one")

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        return dataclasses.asdict(self)


def differing(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What differs between settings as JSON holds them, in words."""
    return [
        f"{name} (there {found.get(name)!r}, here {wanted.get(name)!r})"
        for name in sorted({*wanted, *found})
        if wanted.get(name) != found.get(name)
    ]
