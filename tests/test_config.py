import json

import pytest

from air_tf.config import PRESETS, AIRConfig, DataConfig, RunConfig, TrainingConfig
from air_tf.errors import InputError


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_presets_survive_json(preset):
    config = PRESETS[preset]
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    "part, field, value",
    [
        (AIRConfig, "image_shape", (50, 50)),
        (AIRConfig, "image_shape", (50, 0, 1)),
        (AIRConfig, "max_objects", 0),
        (AIRConfig, "max_objects", 2.0),
        (AIRConfig, "glimpse_size", (28,)),
        (AIRConfig, "z_what_size", -1),
        (AIRConfig, "encoder_units", (200, 0)),
        (AIRConfig, "likelihood_scale", 0.0),
        (AIRConfig, "likelihood_scale", float("nan")),
        (AIRConfig, "count_decay", 1.5),
        (AIRConfig, "count_decay", 0.0),
        (AIRConfig, "where_prior_loc", (0.0, 0.0, 0.0)),
        (AIRConfig, "where_prior_scale", (0.1, 0.5, 0.0)),
        (AIRConfig, "decoder_bias", float("inf")),
        (TrainingConfig, "steps", -1),
        (TrainingConfig, "batch_size", 0),
        (TrainingConfig, "learning_rate", 0.0),
        (TrainingConfig, "seed", 2**31),
        (TrainingConfig, "jit_compile", 1),
        (DataConfig, "data_file", "x.npz"),
        (DataConfig, "image_dir", "pictures"),
    ],
)
def test_what_can_not_work_is_named(part, field, value):
    with pytest.raises(InputError, match=f"^{field} is .*; expected "):
        part(**{field: value})


def test_own_images_need_their_path():
    with pytest.raises(InputError, match="data_file is None; expected a path"):
        DataConfig(dataset="file")
    with pytest.raises(InputError, match="image_dir is None; expected a path"):
        DataConfig(dataset="folder")


def test_unknown_fields_are_named():
    values = AIRConfig().to_dict() | {"z_wat_size": 3}
    with pytest.raises(InputError, match="no field z_wat_size"):
        AIRConfig.from_dict(values)
