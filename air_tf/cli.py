"""Functions of the programs in `scripts/`: flags from settings, errors, logging."""

import dataclasses
import logging as stdlib_logging
import os
import pathlib
import re
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

from absl import app, flags, logging

from air_tf.config import (
    INFERENCES,
    OBJECTIVES,
    PRESETS,
    AIRConfig,
    DataConfig,
    RunConfig,
    TrainingConfig,
)
from air_tf.config.checks import choice_name, one_of
from air_tf.config.model import MAX_OBJECTS
from air_tf.errors import AirTFError, InputError

_PARTS = {"data": DataConfig, "training": TrainingConfig, "model": AIRConfig}
# Settings that are one of several dataclasses, by the name of the choice.
_CHOICES: dict[str, dict[str, Any]] = {"inference": INFERENCES, "objective": OBJECTIVES}
# Flags of earlier versions, with their new names.
_RENAMED = {"max_steps_per_image": "max_objects"}


def define_run_flags() -> None:
    """Defines --preset, and a flag for every setting, which overrides the preset."""
    presets = "\n".join(f"{name}: {preset.reason}" for name, preset in PRESETS.items())
    help = f"Named settings, which other flags override.\n{presets}"
    flags.DEFINE_string("preset", "default", help)
    for part in _PARTS.values():
        define_setting_flags(part)
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


def define_data_dir() -> None:
    flags.DEFINE_string(
        "data_dir", None, "Folder of TFDS datasets. Default: the default of TFDS."
    )


def define_model_dir() -> None:
    flags.DEFINE_string("model_dir", None, "Folder of a run, written by train.py.")


def define_run_to_use() -> None:
    """Defines --model_dir and --max_objects."""
    define_model_dir()
    flags.DEFINE_integer(
        "max_objects",
        None,
        "T, the largest count that can be inferred. Default: that of training.",
    )


def define_overwrite() -> None:
    flags.DEFINE_boolean("overwrite", False, "Replace existing files.")


def define_answers() -> None:
    """Defines the flags for the results of programs that read pictures."""
    flags.DEFINE_string(
        "output_dir",
        None,
        "Folder for NAME.json, and NAME.png with the boxes drawn. Default: JSON is "
        "printed, one line for each picture.",
    )
    define_overwrite()


def check_run_to_use() -> None:
    """Checks the flags of `define_run_to_use`; raises InputError."""
    require("model_dir", "the folder of a run")
    steps = flags.FLAGS.max_objects
    if steps is not None and not 1 <= steps <= MAX_OBJECTS:
        expected = f"expected 1 to {MAX_OBJECTS}"
        raise InputError(f"is {steps}; {expected}", field="max_objects")


def run_config() -> RunConfig:
    """The preset's settings, overridden by the flags that are given.

    Raises:
      InputError: for an invalid value, or a flag without effect.
    """
    name = flags.FLAGS.preset
    if name not in PRESETS:
        raise InputError(f"is {name!r}; expected {one_of(PRESETS)}", field="preset")
    preset = PRESETS[name].config
    config = RunConfig(
        **{
            name: dataclasses.replace(getattr(preset, name), **given)
            for name, given in _given_parts(preset).items()
        }
    )
    if flags.FLAGS.image_shape is not None and config.data.dataset != "folder":
        raise InputError(
            f"is {','.join(flags.FLAGS.image_shape)}; expected nothing unless "
            "`dataset` is folder: other datasets determine the canvas",
            field="image_shape",
        )
    return config


def _given_parts(preset: RunConfig) -> dict[str, dict[str, Any]]:
    """For every part of the settings, the fields that flags or choices override."""
    parts = {}
    for name, part in _PARTS.items():
        given = given_settings(part)
        for choice in _CHOICES:
            if hasattr(getattr(preset, name), choice):
                before = getattr(getattr(preset, name), choice)
                given[choice] = _chosen(choice, before, given.get(choice))
        parts[name] = given
    return parts


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
            given[field.name] = value
    return given


def default_model_dir(config: RunConfig) -> str:
    """The folder of a run if none is given: runs/DATASET-PRESET-SEED."""
    dataset = config.data.dataset.replace("/", "-")
    name = f"{dataset}-{flags.FLAGS.preset}-{config.training.seed}"
    return os.path.join("runs", name)


def expect_no_arguments(argv: list[str]) -> None:
    """Raises InputError for arguments that are not flags."""
    if argv:
        raise InputError(f"argument {argv[0]!r} is not a flag; expected --name=value")


def require(name: str, expected: str) -> None:
    """Raises InputError if the flag `name` is missing or empty."""
    if not getattr(flags.FLAGS, name):
        raise InputError(f"is missing; expected {expected}", field=name)


def require_new_file(name: str) -> None:
    """Raises InputError if a flag's path exists or can't be written to.

    Called before the work starts, so that its results are not lost.
    """
    path = getattr(flags.FLAGS, name)
    if path is None:
        return
    folder = os.path.dirname(path) or "."
    problem = None
    if os.path.isdir(path):
        problem = "is a folder; expected a file"
    elif os.path.exists(path) and not flags.FLAGS.overwrite:
        problem = "exists; expected a new file, or `overwrite`"
    elif not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        problem = f"can't be written: {folder} is not a writable folder"
    if problem:
        raise InputError(f"{path} {problem}", field=name)


def _flag_type(part: type, field: dataclasses.Field) -> type:
    """The type of a flag: without None, and str for a choice, which has a name."""
    if field.name in _CHOICES:
        return str
    hint = typing.get_type_hints(part)[field.name]
    if isinstance(hint, types.UnionType):
        hint = next(h for h in typing.get_args(hint) if h is not type(None))
    return typing.get_origin(hint) or hint


def _numbers(part, field, texts) -> tuple:
    item = typing.get_args(typing.get_type_hints(part)[field.name])[0]
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


def run(main: Callable[[list[str]], int | None], *, resumes: bool = False) -> None:
    """Runs a program. An AirTFError ends it with one line, without a traceback.

    Args:
      main: called with the arguments that are not flags; returns the exit status.
      resumes: whether the program resumes after an interruption if it is run again.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    _refuse_renamed_flags()

    def guarded(argv):
        if not flags.FLAGS["verbosity"].present:
            log_for_users()
        try:
            sys.exit(main(argv[1:]))
        except AirTFError as error:
            sys.exit(f"error: {in_flags(error)}")
        except KeyboardInterrupt:
            hint = "; run the same command again to resume" if resumes else ""
            sys.exit(f"interrupted{hint}")

    app.run(guarded)


def in_flags(message: AirTFError | str) -> str:
    """The text of an error or a warning, with names of settings as flags."""
    text = str(message)
    field = message.field if isinstance(message, InputError) else None
    if field is not None and field in flags.FLAGS:
        text = f"--{text}"

    def as_flag(match):
        return f"--{match[1]}" if match[1] in flags.FLAGS else match[1]

    return re.sub(r"`(\w+)`", as_flag, text)


def _refuse_renamed_flags() -> None:
    for argument in sys.argv[1:]:
        name = argument.lstrip("-").partition("=")[0]
        if argument.startswith("-") and name in _RENAMED:
            sys.exit(f"error: --{name} is now --{_RENAMED[name]}")


def log_for_users() -> None:
    """Logs this project's messages as plain lines, and errors of other packages."""
    logging.set_verbosity(logging.INFO)
    stdlib_logging.getLogger("tensorflow").setLevel(stdlib_logging.ERROR)
    handler = logging.get_absl_handler()
    handler.addFilter(_is_ours)
    handler.setFormatter(_Formatter())


def _is_ours(record: stdlib_logging.LogRecord) -> bool:
    path = pathlib.Path(record.pathname)
    ours = any(path.is_relative_to(root) for root in _our_folders())
    return ours or record.levelno >= stdlib_logging.ERROR


def _our_folders() -> list[pathlib.Path]:
    """The package, and the programs with their studies and benchmarks."""
    return [pathlib.Path(__file__).parent, pathlib.Path(sys.argv[0]).resolve().parent]


class _Formatter(stdlib_logging.Formatter):
    def format(self, record: stdlib_logging.LogRecord) -> str:
        text = in_flags(record.getMessage())
        if record.levelno < stdlib_logging.WARNING:
            return text
        return f"{record.levelname}: {text}"
