"""From flags to settings: flags for every setting, and the config they give."""

import dataclasses
import os
import pathlib
import types
import typing
from collections.abc import Callable
from typing import Any

from absl import flags

from air_tf.config import (
    BACKGROUNDS,
    COMPOSITIONS,
    INFERENCES,
    OBJECTIVES,
    PRESETS,
    AIR3DConfig,
    AIRConfig,
    DataConfig,
    PictureConfig,
    RunConfig,
    TrainingConfig,
)
from air_tf.config.checks import choice_name, one_of
from air_tf.config.datasets import USER_SOURCES, require_dataset
from air_tf.config.model import LEARNED
from air_tf.config.presets import preset_of
from air_tf.config.renderers import RENDERERS, BlackBoxConfig
from air_tf.config.tabletop import TABLETOPS, Tabletop
from air_tf.errors import InputError
from air_tf.files import read_json

# All forms of the parts of `RunConfig`; the preset has one of them.
_PARTS: dict[str, tuple[type, ...]] = {
    "data": (DataConfig,),
    "training": (TrainingConfig,),
    "model": (AIRConfig, AIR3DConfig),
}
_ONLY_3D = "Only for 3D scenes. "
# Settings that are one of several dataclasses, by the name of the choice.
_CHOICES: dict[str, dict[str, Any]] = {
    "inference": INFERENCES,
    "composition": COMPOSITIONS,
    "background": BACKGROUNDS,
    "objective": OBJECTIVES,
    "renderer": RENDERERS,
}
_TABLETOP_HELP = (
    _ONLY_3D + "The scene: a JSON file that describes the camera, the light, the table "
    f"and the kinds of objects; or {one_of(TABLETOPS)}. Default: that of the dataset."
)


def define_run_flags() -> None:
    """Defines --preset, and a flag for every setting, which overrides the preset."""
    presets = "\n".join(f"{name}: {preset.reason}" for name, preset in PRESETS.items())
    help = (
        "Named settings, which other flags override. Default: that of the dataset, "
        f"else default.\n{presets}"
    )
    flags.DEFINE_string("preset", None, help)
    for forms in _PARTS.values():
        define_setting_flags(forms[0])
    define_setting_flags(PictureConfig)
    shared = {field.name for field in dataclasses.fields(AIRConfig)}
    for field in dataclasses.fields(AIR3DConfig):
        if field.name == "tabletop":
            flags.DEFINE_string("tabletop", None, _TABLETOP_HELP)
        elif field.name not in shared:
            _define(AIR3DConfig, field, prefix=_ONLY_3D)
    for name, choices in _CHOICES.items():
        _define_choice_flags(name, choices)


def define_setting_flags(part: type, default: str | None = None) -> None:
    """Defines a flag for every field of a dataclass of settings.

    Args:
      part: the dataclass.
      default: text that `--help` shows as the default; that of the field if omitted.
    """
    for field in dataclasses.fields(part):
        _define(part, field, default=default)


def _define_choice_flags(name: str, choices: dict[str, Any]) -> None:
    """Defines flags for the fields of all choices. Choices may share a flag."""
    users: dict[str, list[str]] = {}
    for choice, part in choices.items():
        for field in dataclasses.fields(part):
            users.setdefault(field.name, []).append(choice)
    for choice, part in choices.items():
        for field in dataclasses.fields(part):
            if choice == users[field.name][0]:
                only_for = f"Only for --{name}={one_of(users[field.name])}. "
                _define(part, field, prefix=only_for)


def _define(part: type, field, *, prefix: str = "", default: str | None = None):
    shown = default or field.default
    if field.name in _CHOICES:
        shown = choice_name(field.default, _CHOICES[field.name])
    if isinstance(shown, tuple):
        shown = ",".join(str(value) for value in shown) or "none"
    text = prefix + field.metadata["help"]
    if shown is not None:
        text += f" Default: {shown}."
    define: dict[type, Callable[..., Any]] = {
        bool: flags.DEFINE_boolean,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
        tuple: flags.DEFINE_list,
    }
    define[_flag_type(part, field)](field.name, None, text)


def run_config() -> RunConfig:
    """The preset's settings, overridden by the flags that are given.

    Raises:
      InputError: for an invalid value, or a flag without effect.
    """
    preset = PRESETS[preset_name()].config
    parts = _given_parts(preset)
    dataset = parts["data"].get("dataset", preset.data.dataset)
    require_dataset(dataset)
    pictures = _given_pictures(parts["data"], preset)
    if pictures is not None:
        parts["model"] = {**pictures.model_settings(), **parts["model"]}
    if isinstance(parts["model"].get("renderer"), BlackBoxConfig):
        # The only value that goes with this renderer.
        parts["training"].setdefault("jit_compile", False)
    config = RunConfig(
        **{
            name: dataclasses.replace(getattr(preset, name), **given)
            for name, given in parts.items()
        },
        pictures=pictures,
    )
    if flags.FLAGS.image_shape is not None and config.data.dataset != "folder":
        raise InputError(
            f"is {','.join(flags.FLAGS.image_shape)}; expected nothing unless "
            "`dataset` is folder: other datasets determine the canvas",
            field="image_shape",
        )
    learns_scale = isinstance(config.model, AIRConfig) and config.model.learns_scale
    if flags.FLAGS.min_likelihood_scale is not None and not learns_scale:
        raise InputError(
            f"is given; expected nothing unless `likelihood_scale` is {LEARNED}",
            field="min_likelihood_scale",
        )
    _require_dataset_of_model(config)
    return config


def _given_pictures(data: dict[str, Any], preset: RunConfig) -> PictureConfig | None:
    """Settings of a folder of pictures of any size; their sizes are known."""
    given = given_settings(PictureConfig)
    if data.get("dataset") != "folder" or isinstance(preset.model, AIR3DConfig):
        for name in given:
            raise InputError(
                "is given; expected nothing unless `dataset` is folder, with a preset "
                "of two-dimensional scenes",
                field=name,
            )
        return None
    pictures = PictureConfig(**given)
    if pictures.object_size is None:
        # Imported late: only a guess reads pictures before the training does.
        from air_tf.data.sources import load_pictures

        pictures = load_pictures(DataConfig(**data), pictures).settings
    return pictures


def _require_dataset_of_model(config: RunConfig) -> None:
    """Raises InputError for scenes that the model is not made for."""
    dataset, model = config.data.dataset, config.model
    in_3d = isinstance(model, AIR3DConfig)
    if dataset in USER_SOURCES:
        return
    if in_3d != (dataset.partition("/")[0] == "tabletop"):
        expected = (
            f"tabletop, {one_of(USER_SOURCES)} with a preset of 3D scenes"
            if in_3d
            else "another with a preset of two-dimensional scenes"
        )
        raise InputError(f"is {dataset}; expected {expected}", field="dataset")
    if flags.FLAGS.tabletop is not None:
        raise InputError(
            f"is {flags.FLAGS.tabletop}; expected nothing with `dataset` {dataset}, "
            "which has its own scene",
            field="tabletop",
        )
    if not isinstance(model, AIR3DConfig):
        return
    scene = model.tabletop
    if scene != TABLETOPS[preset_of(dataset)]:
        text = f"is {dataset}; expected pictures of the preset's scene, {scene.name}"
        raise InputError(text, field="dataset")


def preset_name() -> str:
    """The preset that is chosen, or else that of the dataset or the scene.

    Raises:
      InputError: for one that does not exist.
    """
    name, tabletop = flags.FLAGS.preset, flags.FLAGS.tabletop
    if name is None and tabletop is not None and flags.FLAGS.dataset is not None:
        name = tabletop if tabletop in TABLETOPS else "primitives"
    if name is None:
        name = preset_of(flags.FLAGS.dataset)
    if name not in PRESETS:
        raise InputError(f"is {name!r}; expected {one_of(PRESETS)}", field="preset")
    return name


def _given_parts(preset: RunConfig) -> dict[str, dict[str, Any]]:
    """For every part of the settings, the fields that flags or choices override."""
    parts = {}
    for name, forms in _PARTS.items():
        before = getattr(preset, name)
        _refuse_flags_of_others(type(before), forms)
        given = given_settings(type(before))
        if "tabletop" in given:
            given["tabletop"] = read_tabletop(given["tabletop"])
        for choice in _CHOICES:
            if hasattr(before, choice):
                given[choice] = _chosen(
                    choice, getattr(before, choice), given.get(choice)
                )
        parts[name] = given
    return parts


def _refuse_flags_of_others(form: type, forms: tuple[type, ...]) -> None:
    """Raises InputError for flags that only another form of a part has."""

    def all_names(part: type) -> set[str]:
        names = {field.name for field in dataclasses.fields(part)}
        for choice in names & set(_CHOICES):
            for one in _CHOICES[choice].values():
                names |= {field.name for field in dataclasses.fields(one)}
        return names

    others = set().union(*(all_names(other) for other in forms)) - all_names(form)
    for name in sorted(others):
        if getattr(flags.FLAGS, name) is not None:
            kind = "3D" if form is AIR3DConfig else "two-dimensional"
            raise InputError(
                f"is given; expected nothing for {kind} scenes", field=name
            )


def read_tabletop(name: str) -> Tabletop:
    """The scene of that name, or in that JSON file.

    Raises:
      InputError: for a file that can't be read or describes no scene.
    """
    if name in TABLETOPS:
        return TABLETOPS[name]
    try:
        found = Tabletop.from_dict(read_json(pathlib.Path(name)))
    except InputError as error:
        raise InputError(f"{name}: {error}", field="tabletop") from None
    folder = pathlib.Path(name).resolve().parent
    kinds = tuple(
        kind
        if kind.file is None
        else dataclasses.replace(kind, file=str(folder / kind.file))
        for kind in found.kinds
    )
    return dataclasses.replace(found, kinds=kinds)


def _chosen(name: str, before: Any, chosen: str | None) -> Any:
    """Settings of the choice named by a flag, or else of the preset's choice."""
    choices = _CHOICES[name]
    chosen = chosen or choice_name(before, choices)
    if chosen not in choices:
        raise InputError(f"is {chosen!r}; expected {one_of(choices)}", field=name)
    part = choices[chosen]
    fields = {field.name for field in dataclasses.fields(part)}
    all_fields = {
        field.name for other in choices.values() for field in dataclasses.fields(other)
    }
    for field in sorted(all_fields - fields):
        if getattr(flags.FLAGS, field) is not None:
            text = f"is given; expected nothing with `{name}` {chosen}"
            raise InputError(text, field=field)
    given = given_settings(part)
    # If the preset has the same choice, its other settings are kept.
    return dataclasses.replace(before if isinstance(before, part) else part(), **given)


def given_settings(part: type) -> dict[str, Any]:
    """The fields of a dataclass that flags set; a choice is given by its name."""
    given = {}
    for field in dataclasses.fields(part):
        value = getattr(flags.FLAGS, field.name)
        if value is not None:
            if _flag_type(part, field) is tuple:
                value = _numbers(part, field, value)
            elif typing.get_type_hints(part)[field.name] == float | str:
                value = _number_or_word(value)
            given[field.name] = value
    return given


def default_model_dir(config: RunConfig) -> str:
    """The folder of a run if none is given: runs/DATASET-PRESET-SEED."""
    dataset = config.data.dataset.replace("/", "-")
    name = f"{dataset}-{preset_name()}-{config.training.seed}"
    return os.path.join("runs", name)


def _flag_type(part: type, field: dataclasses.Field) -> type:
    """The type of a flag: without None, and str for a choice, which has a name."""
    if field.name in _CHOICES:
        return str
    hint = typing.get_type_hints(part)[field.name]
    if isinstance(hint, types.UnionType):
        hints = [h for h in typing.get_args(hint) if h is not type(None)]
        hint = str if str in hints else hints[0]
    return typing.get_origin(hint) or hint


def _number_or_word(text: str) -> float | str:
    """A number, for a setting that may also be a word."""
    try:
        return float(text)
    except ValueError:
        return text


def _numbers(part, field, texts) -> tuple:
    hint = typing.get_type_hints(part)[field.name]
    if isinstance(hint, types.UnionType):
        hint = typing.get_args(hint)[0]  # without None
    item = typing.get_args(hint)[0]
    if texts == ["none"]:
        return ()
    try:
        return tuple(item(text) for text in texts)
    except ValueError:
        expected = "whole numbers" if item is int else "numbers"
        raise InputError(
            f"is {','.join(texts)!r}; expected {expected}, separated by commas",
            field=field.name,
        ) from None
