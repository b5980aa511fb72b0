"""Settings of 3D scenes: flags, files that describe scenes, presets, and JSON."""

import dataclasses
import json

import pytest
from absl import flags

from air_tf import run_flags
from air_tf.config import (
    OBJECTIVES,
    PRESETS,
    AIR3DConfig,
    AIRConfig,
    DataConfig,
    EnumerationConfig,
    RecurrentConfig,
    RunConfig,
    TrainingConfig,
    differing_settings,
)
from air_tf.config.objectives import (
    OBJECTIVES_3D,
    KindEnumerationConfig,
    KindNVILConfig,
)
from air_tf.config.presets import preset_of
from air_tf.config.renderers import AnalyticConfig, BlackBoxConfig
from air_tf.config.tabletop import TABLETOPS, Kind, Part, Tabletop
from air_tf.errors import InputError

_TRAINING_3D = TrainingConfig(objective=KindEnumerationConfig())


@pytest.fixture(scope="module")
def run_flag_names():
    before = set(flags.FLAGS)
    run_flags.define_run_flags()
    names = set(flags.FLAGS) - before
    yield names
    for name in names:
        delattr(flags.FLAGS, name)


@pytest.fixture
def given(run_flag_names):
    """The config that a command line gives."""

    def parse(*arguments):
        for name in run_flag_names:
            flags.FLAGS[name].unparse()
        flags.FLAGS(["program", *arguments])
        return run_flags.run_config()

    yield parse
    flags.FLAGS.unparse_flags()


@pytest.mark.parametrize(
    "dataset, preset",
    [
        (None, "digits"),
        ("multi_digits", "digits"),
        ("multi_digits/0-2_any_size", "default"),
        ("sprites", "default"),
        ("tabletop", "primitives"),
        ("tabletop/primitives", "primitives"),
        ("tabletop/primitives_64x64", "primitives"),
        ("tabletop/primitives_one_colour_48x48", "primitives_one_colour"),
        ("tabletop/one", "one"),
        ("tabletop/crockery_32x32", "crockery"),
    ],
)
def test_the_preset_follows_the_dataset(dataset, preset):
    assert preset_of(dataset) == preset


def test_a_dataset_of_tables_gets_the_model_of_3d_scenes(given):
    config = given("--dataset=tabletop/crockery", "--salience=5", "--steps=7")
    assert isinstance(config.model, AIR3DConfig)
    assert config.model.tabletop == TABLETOPS["crockery"]
    assert config.data.dataset == "tabletop/crockery"
    assert (config.model.salience, config.training.steps) == (5.0, 7)
    # What no flag sets is the preset's.
    preset = PRESETS["crockery"].config
    assert config.model.glimpse_size == preset.model.glimpse_size == (30, 30)
    assert config.training.objective == preset.training.objective
    assert run_flags.preset_name() == "crockery"
    assert run_flags.default_model_dir(config) == "runs/tabletop-crockery-crockery-0"


def test_flags_of_two_dimensional_scenes_are_as_they_were(given):
    assert given() == PRESETS["digits"].config
    assert given("--dataset=multi_mnist").training == RunConfig().training
    config = given("--inference=recurrent", "--z_what_size=3")
    assert config.model == AIRConfig(inference=RecurrentConfig(), z_what_size=3)
    assert given("--dataset=sprites").model == AIRConfig()


@pytest.mark.parametrize(
    "arguments, message",
    [
        # Of the other model.
        (
            ("--dataset=tabletop", "--z_what_size=3"),
            "^z_what_size is given; expected nothing for 3D scenes",
        ),
        (
            ("--preset=primitives", "--inference=recurrent"),
            "^inference is given; expected nothing for 3D scenes",
        ),
        (
            ("--dataset=tabletop", "--look_units=3"),
            "^look_units is given; expected nothing for 3D scenes",
        ),
        (
            ("--dataset=sprites", "--salience=2"),
            "^salience is given; expected nothing for two-dimensional scenes",
        ),
        (
            ("--renderer=analytic",),
            "^renderer is given; expected nothing for two-dimensional scenes",
        ),
        (("--yaw_step=1",), "^yaw_step is given; .* two-dimensional scenes"),
        (("--tabletop=crockery",), "^tabletop is given; .* two-dimensional scenes"),
        # Of another choice.
        (
            ("--dataset=tabletop", "--yaw_step=1"),
            "^yaw_step is given; expected nothing with `renderer` analytic",
        ),
        (
            ("--dataset=tabletop", "--count_update=gradient"),
            "^count_update is given; .* with `objective` kind_enumeration",
        ),
        # The objective belongs to the other model.
        (
            ("--dataset=tabletop", "--objective=nvil"),
            "^objective is nvil; expected kind_enumeration or kind_nvil for 3D scenes",
        ),
        (
            ("--objective=kind_nvil",),
            "^objective is kind_nvil, for 3D scenes; expected enumeration, nvil, ",
        ),
        (
            ("--dataset=tabletop", "--renderer=black_box", "--jit_compile"),
            "^jit_compile is true; expected false with `renderer` black_box",
        ),
        (
            ("--dataset=tabletop", "--image_shape=64,64,3"),
            "^image_shape is 64,64,3; expected nothing unless",
        ),
        # Pictures that the model is not made for.
        (
            ("--preset=primitives", "--dataset=sprites"),
            "^dataset is sprites; expected tabletop, file or folder with a preset",
        ),
        (
            ("--preset=mnist", "--dataset=tabletop"),
            "^dataset is tabletop; expected another with a preset of two-dimensional",
        ),
        (
            ("--preset=primitives", "--dataset=tabletop/primitives_one_colour"),
            "^dataset is .*_one_colour; expected pictures of the preset's scene, prim",
        ),
        (
            ("--dataset=tabletop", "--tabletop=crockery"),
            "^tabletop is crockery; expected nothing with `dataset` tabletop, ",
        ),
        (("--dataset=tabletop", "--min_salience=-1"), "^min_salience is -1.0; "),
        (("--preset=table",), "^preset is 'table'; expected .* or crockery"),
        (("--dataset=tabletop", "--tabletop=none.json"), r"^tabletop none\.json: "),
    ],
)
def test_what_does_not_go_together_is_refused(given, arguments, message):
    with pytest.raises(InputError, match=message):
        given(*arguments)


def test_choices_of_3d_scenes(given):
    config = given(
        "--dataset=tabletop",
        "--objective=kind_nvil",
        "--signal_decay=0.5",
        "--initial_blur=2",
        "--renderer=black_box",
        "--yaw_step=0.1",
    )
    assert config.objective == KindNVILConfig(signal_decay=0.5, initial_blur=2.0)
    assert config.model.renderer == BlackBoxConfig(yaw_step=0.1)
    # XLA can't compile a renderer that is called: the run's settings say so.
    assert config.to_dict()["training"]["jit_compile"] is False
    assert given("--dataset=tabletop").training.jit_compile
    # Of the same choice, other settings of the preset are kept.
    config = given("--dataset=tabletop/one", "--position_step=0.01")
    preset = PRESETS["one"].config
    renderer = dataclasses.replace(preset.model.renderer, position_step=0.01)
    assert config.model == dataclasses.replace(preset.model, renderer=renderer)


def _write(folder, **values):
    file = folder / "mine.json"
    file.write_text(json.dumps(values))
    return file


_CUP = {
    "name": "cup",
    "symmetry": 1,
    "parts": [{"shape": "cylinder", "size": [0.1, 0.1], "centre": [0, 0, 0.1]}],
}
_MESH = {"name": "mesh", "symmetry": 2, "file": "meshes/a.obj", "file_scale": 0.1}


def test_a_users_scene_is_read_from_its_file(given, tmp_path, monkeypatch):
    file = _write(tmp_path, name="mine", kinds=[_CUP, _MESH], reach=0.5)
    scenes = ("--dataset=file", "--data_file=x.npz")
    black_box = "--renderer=black_box"
    config = given(*scenes, black_box, f"--tabletop={file}")
    tabletop = config.model.tabletop
    assert tabletop.kind_names == ("cup", "mesh")
    part = Part(shape="cylinder", size=(0.1, 0.1), centre=(0, 0, 0.1))
    assert tabletop.kinds[0] == Kind(name="cup", symmetry=1, parts=(part,))
    # What is missing is the default; paths are relative to the file.
    assert (tabletop.reach, tabletop.min_distance) == (0.5, 0.42)
    assert tabletop.kinds[1].file == str(tmp_path / "meshes" / "a.obj")
    monkeypatch.chdir(tmp_path)
    again = given(*scenes, black_box, "--tabletop=mine.json")
    assert again.model.tabletop == tabletop
    absolute = _MESH | {"file": "/there/a.obj"}
    file = _write(tmp_path, kinds=[absolute])
    assert run_flags.read_tabletop(str(file)).kinds[0].file == "/there/a.obj"


def test_a_scene_of_ours_has_its_preset(given):
    scenes = ("--dataset=file", "--data_file=x.npz")
    config = given(*scenes, "--tabletop=crockery")
    assert config.model == PRESETS["crockery"].config.model
    config = given(*scenes, "--tabletop=crockery", "--preset=primitives")
    expected = PRESETS["primitives"].config.model
    assert config.model == dataclasses.replace(expected, tabletop=TABLETOPS["crockery"])


def _cup(**changes):
    return {"kinds": [_CUP | changes]}


@pytest.mark.parametrize(
    "values, message",
    [
        ({}, "kinds are none; expected 1 to 4"),
        ({"kinds": [_CUP] * 2}, "kinds are cup, cup; expected 1 to 4 with different"),
        ({"kinds": 3}, "kinds is 3; expected a list"),
        ({"kinds": [3]}, "3 is not a description of a Kind"),
        ({"kinds": [_CUP], "camera": 1}, "Tabletop has no field camera"),
        (_cup(mass=1), "kind cup: Kind has no field mass"),
        (_cup(name="my cup"), "kind my cup: name is 'my cup'; expected letters"),
        (_cup(symmetry=-1), "kind cup: symmetry is -1; expected a whole number"),
        (
            {"kinds": [{"name": "cup", "parts": []}]},
            "kind cup: symmetry is missing; expected the number of turns",
        ),
        (_cup(parts=[]), "kind cup: parts holds 0 solids and `file` is None; "),
        (_cup(file="a.obj"), "kind cup: parts holds 1 solids and `file` is 'a.obj'; "),
        (_cup(parts=3), "kind cup: parts is 3; expected a list"),
        (_cup(parts=["box"]), "kind cup: 'box' is not a description of a Part"),
        (_cup(parts=[{"shape": "cone"}]), "kind cup: shape is 'cone'; expected box, "),
        (_cup(parts=[{"size": [1, 2]}]), r"kind cup: size is \(1, 2\); expected 3 num"),
        (_cup(parts=[{"size": [1, 2, 0]}]), "kind cup: size is .* numbers above 0"),
        (_cup(parts=[{"colour": "red"}]), "kind cup: colour is 'red'; expected 3 "),
        (_cup(parts=[{"colour": [0, 0, 2]}]), "kind cup: colour is .* from 0 to 1"),
        ({"kinds": [{**_MESH, "file": 5}]}, "kind mesh: file is 5; expected the path"),
        ({"kinds": [{**_MESH, "file_scale": 0}]}, "kind mesh: file_scale is 0; "),
        ({"kinds": [_CUP], "name": 3}, "name is 3; expected a text"),
        ({"kinds": [_CUP], "reach": "far"}, "reach is 'far'; expected a number"),
        ({"kinds": [_CUP], "field_of_view": 180}, "field_of_view is 180; expected 1 "),
        (
            {"kinds": [_CUP], "camera_position": [0, 0, 2]},
            "camera_position is .* not straight above",
        ),
        (
            {"kinds": [_CUP], "camera_position": [0, -2, -1]},
            "camera_position is .* above the table",
        ),
        (
            {"kinds": [_CUP], "light_direction": [0, 0, 0]},
            "light_direction is .* not only zeros",
        ),
    ],
)
def test_a_wrong_description_of_a_scene_is_named(tmp_path, values, message):
    file = _write(tmp_path, **values)
    with pytest.raises(InputError, match=f"^tabletop {file}: {message}"):
        run_flags.read_tabletop(str(file))


@pytest.mark.parametrize("text", ["[1]", "{", "\x00"])
def test_files_that_describe_nothing(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=r"^tabletop .*x\.json"):
        run_flags.read_tabletop(str(tmp_path / "x.json"))


@pytest.mark.parametrize(
    "field, value",
    [
        ("tabletop", "primitives"),
        ("renderer", "analytic"),
        ("image_shape", (32, 32, 1)),
        ("image_shape", (4, 32, 3)),
        ("max_objects", 7),
        ("glimpse_size", (20,)),
        ("look_channels", ()),
        ("look_pooling", 0),
        ("num_corrections", -1),
        ("glimpse_scale", 1.5),
        ("salience", 0.0),
        ("blur", float("nan")),
    ],
)
def test_settings_of_the_model_are_checked(field, value):
    with pytest.raises(InputError, match=f"^{field} is "):
        AIR3DConfig(**{field: value})


@pytest.mark.parametrize(
    "config, field, value",
    [
        (KindEnumerationConfig, "explore_share", 0.0),
        (KindEnumerationConfig, "yaw_proposals", -1),
        (KindEnumerationConfig, "blur_share", 2.0),
        (KindEnumerationConfig, "posterior_loss_weight", 0.0),
        (KindNVILConfig, "initial_blur", 0.0),
        (KindNVILConfig, "mask_loss_weight", -1.0),
        (KindNVILConfig, "signal_decay", 1.0),
    ],
)
def test_settings_of_objectives_are_checked(config, field, value):
    with pytest.raises(InputError, match=f"^{field} is "):
        config(**{field: value})


def test_objectives_belong_to_a_model():
    assert set(OBJECTIVES_3D) <= set(OBJECTIVES)
    for name, objective in OBJECTIVES.items():
        training = TrainingConfig(objective=objective())
        fitting = AIR3DConfig() if name in OBJECTIVES_3D else AIRConfig()
        other = AIRConfig() if name in OBJECTIVES_3D else AIR3DConfig()
        RunConfig(model=fitting, training=training)
        with pytest.raises(InputError, match=f"^objective is {name}"):
            RunConfig(model=other, training=training)


def test_settings_survive_json(tmp_path):
    file = _write(tmp_path, name="mine", kinds=[_CUP, _MESH])
    config = RunConfig(
        model=AIR3DConfig(
            tabletop=run_flags.read_tabletop(str(file)),
            renderer=BlackBoxConfig(position_step=0.02),
            look_channels=(4, 5, 6),
        ),
        data=DataConfig(dataset="tabletop/one"),
        training=TrainingConfig(
            objective=KindNVILConfig(baseline_units=(3, 4)), jit_compile=False
        ),
    )
    values = json.loads(json.dumps(config.to_dict()))
    assert RunConfig.from_dict(values) == config
    assert AIR3DConfig.from_dict(values["model"]) == config.model
    assert Tabletop.from_dict(values["model"]["tabletop"]) == config.model.tabletop
    for changed, message in (
        ({"tabletop": None}, "None is not a description of a Tabletop"),
        ({"renderer": {"name": "ray_tracer"}}, "renderer is 'ray_tracer'"),
        ({"depth": 3}, "AIR3DConfig has no field depth"),
        ({"version": 99}, "later version"),
    ):
        with pytest.raises(InputError, match=message):
            AIR3DConfig.from_dict(values["model"] | changed)
    del values["model"]["salience"]
    with pytest.raises(InputError, match="lacks the field salience"):
        RunConfig.from_dict(values)


def test_settings_of_two_dimensional_scenes_are_stored_as_before():
    values = json.loads(json.dumps(RunConfig().to_dict()))
    assert set(values) == {"version", "model", "data", "training", "pictures"}
    assert values["pictures"] is None
    assert values["version"] == 4
    assert "tabletop" not in values["model"] and "renderer" not in values["model"]
    again = RunConfig.from_dict(values)
    assert isinstance(again.model, AIRConfig)
    assert isinstance(again.objective, EnumerationConfig)


def test_differences_of_scenes_are_named_in_short():
    one = RunConfig(model=AIR3DConfig(), training=_TRAINING_3D)
    model = AIR3DConfig(
        tabletop=TABLETOPS["crockery"], renderer=BlackBoxConfig(), salience=5.0
    )
    training = dataclasses.replace(_TRAINING_3D, jit_compile=False)
    other = RunConfig(model=model, training=training)
    found = differing_settings(one.to_dict(), other.to_dict())
    assert found == [
        "jit_compile (there False, here True)",
        "position_step (there 0.03, here None)",
        "renderer (there 'black_box', here 'analytic')",
        "salience (there 5.0, here 8.0)",
        "tabletop",
        "yaw_step (there 0.15, here None)",
    ]


def test_presets_of_3d_scenes_can_draw_their_scenes():
    for name, tabletop in TABLETOPS.items():
        config = PRESETS[name].config
        assert config.model.tabletop == tabletop
        assert config.data.dataset == f"tabletop/{name}"
        analytic = isinstance(config.model.renderer, AnalyticConfig)
        assert analytic == config.training.jit_compile


def test_another_unit_is_the_same_scene():
    tabletop = TABLETOPS["crockery"]
    millimetres = tabletop.scaled(1000.0)
    assert millimetres.reach == 1000 * tabletop.reach
    assert millimetres.camera_position == (0.0, -2000.0, 1900.0)
    assert millimetres.kinds[0].file_scale == 1000.0
    assert millimetres.field_of_view == tabletop.field_of_view
    size = millimetres.kinds[1].parts[0].size
    assert size == tuple(1000 * one for one in tabletop.kinds[1].parts[0].size)
