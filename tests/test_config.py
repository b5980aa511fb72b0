import importlib
import json
import pathlib
import pickle

import pytest

from air_tf.config import (
    OBJECTIVES,
    PRESETS,
    AIRConfig,
    ConcreteConfig,
    DataConfig,
    DifferenceConfig,
    EnumerationConfig,
    IWAEConfig,
    NVILConfig,
    PictureConfig,
    RecurrentConfig,
    RunConfig,
    TrainingConfig,
    differing_settings,
)
from air_tf.errors import InputError
from air_tf.objectives import objective
from air_tf.objectives.objective import Objective


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_presets_survive_json(preset):
    config = PRESETS[preset].config
    again = RunConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again.to_dict() == config.to_dict()
    assert again.model == config.model and again.data == config.data


@pytest.mark.parametrize(
    "part, field, value",
    [
        (AIRConfig, "image_shape", (50, 50)),
        (AIRConfig, "image_shape", (50, 0, 1)),
        (AIRConfig, "max_objects", 0),
        (AIRConfig, "max_objects", 2.0),
        (AIRConfig, "max_objects", 101),
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
        (AIRConfig, "inference", "recurrent"),
        (AIRConfig, "min_where_scale", 0.0),
        (AIRConfig, "box_threshold", -0.1),
        (AIRConfig, "box_threshold", 1.0),
        (AIRConfig, "min_count_prob", 1.0),
        (DataConfig, "dataset", 3),
        (PictureConfig, "object_size", (12,)),
        (PictureConfig, "object_size", (40, 12)),
        (PictureConfig, "object_size", (1, 12)),
        (PictureConfig, "polarity", "white"),
        (PictureConfig, "levels", (0.5, 0.5)),
        (PictureConfig, "knee", 0),
        (PictureConfig, "contrast_floor", 0.0),
        (PictureConfig, "sharpening", -1.0),
        (PictureConfig, "channel", -1),
        (PictureConfig, "page", 1.0),
        (PictureConfig, "mask_threshold", 1.5),
        (AIRConfig, "min_window_scale", 1.5),
        (DifferenceConfig, "look_units", ()),
        (DifferenceConfig, "num_refinements", 0),
        (DifferenceConfig, "cell_reach", 0.0),
        (DifferenceConfig, "cell_stride", 15),
        (RecurrentConfig, "recurrent_units", 0),
        (EnumerationConfig, "count_update", "magic"),
        (EnumerationConfig, "count_loss_weight", 0.0),
        (EnumerationConfig, "move_blank_steps", 1),
        (NVILConfig, "signal_decay", 1.0),
        (ConcreteConfig, "final_temperature", 0.0),
        (IWAEConfig, "num_particles", 1),
        (TrainingConfig, "objective", "nvil"),
        (TrainingConfig, "constant_rate_share", 0.0),
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
    with pytest.raises(InputError, match=r" is .*; expected ") as error:
        part(**{field: value})
    assert error.value.field in (field, "cell_patch")


def test_own_images_need_their_path():
    with pytest.raises(InputError, match="data_file is missing; expected a path"):
        DataConfig(dataset="file")
    with pytest.raises(InputError, match="image_dir is missing; expected a path"):
        DataConfig(dataset="folder")


def test_unknown_fields_are_named():
    values = AIRConfig().to_dict() | {"z_wat_size": 3}
    with pytest.raises(InputError, match="no field z_wat_size"):
        AIRConfig.from_dict(values)


@pytest.mark.parametrize(
    "part, name",
    [("model", "box_threshold"), ("data", "dataset"), ("training", "seed")],
)
def test_stored_settings_are_complete(part, name):
    """Today's default may be another than that of the version that stored them."""
    values = json.loads(json.dumps(RunConfig().to_dict()))
    del values[part][name]
    with pytest.raises(InputError, match=f"lacks the field {name}"):
        RunConfig.from_dict(values)


@pytest.mark.parametrize(
    "part, name", [("model", "inference"), ("training", "objective")]
)
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("value", [None, 3, ["x"], "magic", {"name": ["x"]}])
def test_choices_that_can_not_be_read(part, name, version, value):
    values = json.loads(json.dumps(RunConfig().to_dict())) | {"version": version}
    if version == 1:
        values = {"model": {}, "data": {}, "training": {}}
    values[part][name] = value
    with pytest.raises(InputError, match=f"^{name} is .*; expected "):
        RunConfig.from_dict(values)


def test_defaults_of_the_count_follow_the_form_of_inference():
    """Explicit where they are recorded."""
    objective = RunConfig().to_dict()["training"]["objective"]
    assert objective == {
        "name": "enumeration",
        "count_update": "cross_entropy",
        "count_loss_weight": 10.0,
        "move_blank_steps": False,
    }
    recurrent = AIRConfig(inference=RecurrentConfig())
    objective = RunConfig(model=recurrent).to_dict()["training"]["objective"]
    assert objective == {
        "name": "enumeration",
        "count_update": "gradient",
        "count_loss_weight": None,
        "move_blank_steps": True,
    }
    given = TrainingConfig(objective=EnumerationConfig(move_blank_steps=False))
    assert not RunConfig(model=recurrent, training=given).objective.move_blank_steps


def test_a_weight_without_its_loss_is_refused():
    with pytest.raises(InputError, match="count_loss_weight is 2"):
        EnumerationConfig(count_update="gradient", count_loss_weight=2.0)
    # Also where the form of inference chooses the gradient.
    training = TrainingConfig(objective=EnumerationConfig(count_loss_weight=2.0))
    RunConfig(training=training)
    with pytest.raises(InputError, match="count_loss_weight is 2"):
        RunConfig(model=AIRConfig(inference=RecurrentConfig()), training=training)


def test_the_paper_has_no_methods_of_ours():
    config = PRESETS["paper"].config
    assert isinstance(config.model.inference, RecurrentConfig)
    assert isinstance(config.objective, NVILConfig)
    assert config.training.constant_rate_share == 1.0


def test_differences_are_named():
    one = RunConfig().to_dict()
    model = AIRConfig(inference=RecurrentConfig(recurrent_units=9), z_what_size=3)
    other = RunConfig(model=model).to_dict()
    text = ", ".join(differing_settings(one, other))
    for part in (
        "inference (there 'recurrent', here 'difference')",
        "recurrent_units (there 9, here None)",
        "z_what_size (there 3, here 50)",
        "count_update (there 'gradient', here 'cross_entropy')",
    ):
        assert part in text
    assert differing_settings(one, RunConfig().to_dict()) == []


def test_every_objective_has_a_file_and_a_line_in_the_registry():
    for name in OBJECTIVES:
        module = importlib.import_module(f"air_tf.objectives.{name}")
        assert issubclass(module.Estimator, Objective)
    folder = pathlib.Path(objective.__file__).parent
    registered = {
        path.stem
        for path in folder.glob("*.py")
        if "class Estimator" in path.read_text()
    }
    assert registered == set(OBJECTIVES)


def test_errors_keep_their_field_across_processes():
    error = pickle.loads(pickle.dumps(InputError("is 3; expected 2", field="n")))
    assert (str(error), error.field) == ("n is 3; expected 2", "n")


_FOLDER = DataConfig(dataset="folder", image_dir="plate")


def test_settings_that_follow_from_the_size_of_objects():
    """Objects of 6 to 32 pixels: windows of 48, and of 20 for the usual one of 14."""
    found = PictureConfig(object_size=(6, 32)).model_settings()
    assert found["image_shape"] == (48, 48, 1) and found["glimpse_size"] == (20, 20)
    assert found["max_objects"] == 6
    assert found["where_prior_loc"][0] == pytest.approx(19 / 48)
    assert found["where_prior_scale"][0] == pytest.approx(0.3 * 26 / 48)
    # Of those that fill a third of their windows, parts of six are seen.
    assert PictureConfig(object_size=(35, 65)).model_settings()["max_objects"] == 6
    # Of ten times the size, pixels are averaged.
    large = PictureConfig(object_size=(60, 320))
    assert large.binning == 8 and large.binned_sizes == (7.5, 40.0)
    assert large.model_settings()["image_shape"] == (64, 64, 1)


def test_settings_of_pictures_survive_json():
    pictures = PictureConfig(object_size=(6, 32), levels=(0.1, 0.5), channel=1)
    model = AIRConfig(**pictures.model_settings())
    config = RunConfig(model=model, data=_FOLDER, pictures=pictures)
    values = json.loads(json.dumps(config.to_dict()))
    again = RunConfig.from_dict(values)
    assert again.pictures == pictures and again.to_dict() == config.to_dict()
    other = RunConfig(
        model=model, data=_FOLDER, pictures=PictureConfig(object_size=(6, 30))
    )
    assert "object_size (there [6, 32], here (6, 30))" in differing_settings(
        other.to_dict(), values
    )
    # Few windows are crowded.
    assert config.prediction_steps() == 12 and config.prediction_steps(7) == 7
    assert RunConfig(model=model).prediction_steps() == 6


def test_runs_of_a_folder_of_earlier_versions_resize_pictures():
    values = json.loads(json.dumps(RunConfig(data=_FOLDER).to_dict()))
    del values["pictures"]
    assert RunConfig.from_dict(values).pictures is None


@pytest.mark.parametrize(
    "model, data, message",
    [
        ({}, DataConfig(), "pictures is given; expected nothing unless `dataset`"),
        ({"image_shape": (48, 48, 3)}, _FOLDER, "image_shape is 48,48,3; expected 1"),
        ({"image_shape": (30, 48, 1)}, _FOLDER, "object_size is 6,32; expected a larg"),
    ],
)
def test_pictures_that_do_not_go_with_the_model(model, data, message):
    pictures = PictureConfig(object_size=(6, 32))
    with pytest.raises(InputError, match=message):
        RunConfig(model=AIRConfig(**model), data=data, pictures=pictures)
