"""Upgrades settings that earlier versions stored.

Format 1 (air_tf 0.1) had no nested settings, and the values below were constants in
its code. They are repeated here instead of using today's defaults, which may change.
Format 2 drew light on a black ground, with a given sigma. The learned grounds of format
3 were grids of colours with other weights, which are not read any more.
"""

from collections.abc import Mapping
from typing import Any

from air_tf.errors import InputError

VERSION = 4
# The first version whose models have today's names of weights.
WEIGHTS_VERSION = 2

# What version 1 stored, with its defaults for files that lack a field.
_STORED_MODEL = {
    "image_shape": (50, 50, 1),
    "max_steps_per_image": 3,
    "glimpse_size": (28, 28),
    "z_what_size": 50,
    "inference": "difference",
    "look_pooling": 2,
    "look_units": (64, 64),
    "recurrent_units": 256,
    "where_units": (200,),
    "encoder_units": (200,),
    "decoder_units": (200,),
    "decoder_bias": -2.0,
    "likelihood_scale": 0.3,
    "count_decay": 0.01,
    "where_prior_loc": (0.35, 0.0, 0.0),
    "where_prior_scale": (0.1, 0.5, 0.5),
}
_STORED_DATA = {"dataset": "multi_digits", "data_file": None, "image_dir": None}
_STORED_TRAINING = {
    "objective": "enumeration",
    "num_particles": None,
    "steps": 2700,
    "batch_size": 64,
    "learning_rate": 1.5e-3,
    "seed": 0,
    "steps_per_evaluation": 300,
    "jit_compile": True,
    "mixed_precision": False,
}
# What was in its code.
_DIFFERENCE = {
    "cell_stride": 4,
    "cell_patch": 14,
    "cell_reach": 1.5,
    "num_refinements": 2,
}
_MODEL = {
    "where_head_gain": 0.1,
    "where_raw_scale": -2.0,
    "what_raw_scale": 0.5,
    "min_where_scale": 0.01,
    "min_what_scale": 0.001,
    "min_window_scale": 0.02,
    "min_count_prob": 1e-6,
    "box_threshold": 0.1,
}
_NO_PROPOSALS = {
    "proposals": 0,
    "proposal_distance": 0.25,
    "revisions": 0,
    "examined_share": 0.3,
    "bound_deviation": 5.0,
}
_MODEL3D = {"crowding_scale": 0.05}
_CANVAS = {
    "composition": {"name": "additive"},
    "background": {"name": "black"},
    "min_likelihood_scale": 0.1,
}
_TRAINING = {
    "constant_rate_share": 0.5,
    "final_rate_share": 0.1,
    "num_validation_images": 1000,
    "num_prior_images": 10_000,
    "min_fitted_where_scale": 1e-3,
    "max_unrolled_steps": 8,
}
_ENUMERATION: dict[str, dict[str, Any]] = {
    "difference": {
        "count_update": "cross_entropy",
        "count_loss_weight": 10.0,
        "move_blank_steps": False,
    },
    "recurrent": {
        "count_update": "gradient",
        "count_loss_weight": None,
        "move_blank_steps": True,
    },
}
_NVIL = {
    "baseline_pooling": 2,
    "baseline_units": (200,),
    "baseline_unit": 50.0,
    "baseline_learning_rate": 1e-3,
    "signal_decay": 0.8,
    "min_signal_scale": 1.0,
}
_CONCRETE = {"initial_temperature": 1.0, "final_temperature": 0.1}
_NUM_PARTICLES = 5


def version_of(values: Mapping[str, Any]) -> int:
    """The version of the format of settings.

    Raises:
      InputError: for a version that this version of air_tf does not support.
    """
    version = values.get("version", 1)
    if version not in range(1, VERSION + 1):
        raise InputError(
            f"settings have the format {version!r}, of a later version of air_tf; "
            f"expected at most {VERSION}"
        )
    return version


def model_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the model in today's format, without the "version" key.

    Raises:
      InputError: for a later version, or a learned ground of version 3.
    """
    values = dict(values)
    version = version_of(values)
    values.pop("version", None)
    if version == 3:
        ground = values.get("background")
        if isinstance(ground, Mapping) and ground.get("name") == "learned":
            raise InputError(
                "is a learned ground of an earlier version of air_tf, a grid of "
                "colours, which this version does not draw; train the model again",
                field="background",
            )
    if version >= 3:
        return values
    if version == 2:
        form = values.get("inference")
        if isinstance(form, Mapping) and form.get("name") == "difference":
            values["inference"] = {**_NO_PROPOSALS, **form}
        return {**_CANVAS, **values}
    values = {**_STORED_MODEL, **values}
    name = values.pop("inference")
    own = {"look_units": values.pop("look_units")}
    recurrent = {"recurrent_units": values.pop("recurrent_units")}
    form = {"name": name} | (
        recurrent if name == "recurrent" else own | _DIFFERENCE | _NO_PROPOSALS
    )
    values["max_objects"] = values.pop("max_steps_per_image")
    return {**values, **_MODEL, **_CANVAS, "inference": form}


def model3d_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a model of 3D scenes in today's format, without "version"."""
    version = version_of(values)
    values = {name: value for name, value in values.items() if name != "version"}
    return values if version == VERSION else {**_MODEL3D, **values}


def run_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run in today's format: "model", "data", "training", "pictures"."""
    version = version_of(values)
    parts: dict[str, Any] = {
        name: dict(values[name]) for name in ("model", "data", "training")
    }
    # Runs of earlier versions resized the pictures of a folder to the canvas.
    parts["pictures"] = values.get("pictures")
    if version > 1:
        return parts
    form = parts["model"].get("inference", "difference")
    training = {**_STORED_TRAINING, **parts["training"]}
    name = training.pop("objective")
    particles = {"num_particles": training.pop("num_particles") or _NUM_PARTICLES}
    own: dict[str, dict[str, Any]] = {
        "enumeration": _ENUMERATION.get(str(form), {}),
        "nvil": _NVIL,
        "vimco": particles,
        "concrete": _CONCRETE,
        "iwae": particles,
    }
    parts["training"] = {
        **training,
        **_TRAINING,
        "objective": {"name": name, **own.get(str(name), {})},
    }
    parts["data"] = {**_STORED_DATA, **parts["data"]}
    return parts
