"""What the programs in `scripts/` share: flags from settings, and their errors."""

import dataclasses
import logging as stdlib_logging
import os
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

from absl import app, flags, logging

from air_tf.config import PRESETS, AIRConfig, DataConfig, RunConfig, TrainingConfig
from air_tf.errors import InputError

# More would not fit into memory.
_MAX_OBJECTS = 100
_PARTS = {"data": DataConfig, "training": TrainingConfig, "model": AIRConfig}


def define_run_flags() -> None:
    """A flag for every setting; a flag that is not given leaves the preset's."""
    flags.DEFINE_string(
        "preset", "default", f"Where settings start from: {' or '.join(PRESETS)}."
    )
    for part in _PARTS.values():
        define_setting_flags(part)


def define_setting_flags(part: type, default: str | None = None) -> None:
    """A flag for every field of one dataclass of settings.

    Args:
      part: the dataclass.
      default: what `--help` calls the default; the field's own if omitted.
    """
    for field in dataclasses.fields(part):
        kind = _kind(part, field)
        text = field.metadata["help"]
        shown = default or field.default
        if isinstance(shown, tuple):
            shown = ",".join(str(value) for value in shown) or "none"
        if shown is not None:
            text += f" Default: {shown}."
        {
            bool: flags.DEFINE_boolean,
            int: flags.DEFINE_integer,
            float: flags.DEFINE_float,
            str: flags.DEFINE_string,
            tuple: flags.DEFINE_list,
        }[kind](field.name, None, text)


def define_data_dir() -> None:
    flags.DEFINE_string("data_dir", None, "TFDS' data_dir. Default: TFDS' own.")


def define_model_dir() -> None:
    flags.DEFINE_string("model_dir", None, "Folder of a run of train.py.")


def define_run_to_use() -> None:
    """Which trained run a program uses, and how."""
    define_model_dir()
    flags.DEFINE_integer(
        "max_objects",
        None,
        "T, the most objects; that of training if omitted.",
    )


def define_overwrite() -> None:
    flags.DEFINE_boolean("overwrite", False, "Replace files that exist.")


def define_answers() -> None:
    """Where programs that look at pictures put their answers."""
    flags.DEFINE_string(
        "output_dir",
        None,
        "Folder for NAME.json and NAME.png, with the boxes drawn. Default: JSON is "
        "printed, a line for each picture.",
    )
    define_overwrite()


def check_run_to_use() -> None:
    require("model_dir", "the folder of a run")
    steps = flags.FLAGS.max_objects
    if steps is not None and not 1 <= steps <= _MAX_OBJECTS:
        raise InputError(f"max_objects is {steps}; expected 1 to {_MAX_OBJECTS}")


def run_config() -> RunConfig:
    """The preset's settings, changed by the flags that are given.

    Raises:
      InputError: naming the flag whose value can't work.
    """
    if flags.FLAGS.preset not in PRESETS:
        raise InputError(
            f"preset is {flags.FLAGS.preset!r}; expected {' or '.join(PRESETS)}"
        )
    preset = PRESETS[flags.FLAGS.preset]
    config = RunConfig(
        **{
            name: dataclasses.replace(getattr(preset, name), **given_settings(part))
            for name, part in _PARTS.items()
        }
    )
    if flags.FLAGS.image_shape is not None and config.data.dataset != "folder":
        raise InputError(
            f"image_shape is {','.join(flags.FLAGS.image_shape)}; expected nothing "
            "unless --dataset=folder, since other images have their own"
        )
    return config


def given_settings(part: type) -> dict[str, Any]:
    """The settings of one dataclass that flags give."""
    given = {}
    for field in dataclasses.fields(part):
        value = getattr(flags.FLAGS, field.name)
        if value is not None:
            if _kind(part, field) is tuple:
                value = _numbers(part, field, value)
            given[field.name] = value
    return given


def default_model_dir(config: RunConfig) -> str:
    dataset = config.data.dataset.replace("/", "-")
    name = f"{dataset}-{flags.FLAGS.preset}-{config.training.seed}"
    return os.path.join("runs", name)


def expect_no_arguments(argv: list[str]) -> None:
    if argv:
        raise InputError(f"argument {argv[0]!r} is not a flag; expected --name=value")


def require(name: str, expected: str) -> None:
    if not getattr(flags.FLAGS, name):
        raise InputError(f"{name} is missing; expected {expected}")


def require_new_file(name: str) -> None:
    """Refuses a flag's path where a file could not be written, before any work."""
    path = getattr(flags.FLAGS, name)
    if path is None:
        return
    if os.path.isdir(path):
        raise InputError(f"{name} {path} is a folder; expected a file")
    if os.path.exists(path) and not flags.FLAGS.overwrite:
        raise InputError(f"{name} {path} exists; expected a new file, or --overwrite")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise InputError(f"{name} {path}: {folder} is not a folder to write into")


def _kind(part: type, field: dataclasses.Field) -> type:
    """The type of a flag: that of `str | None` is str."""
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
        kind = "whole numbers" if item is int else "numbers"
        raise InputError(
            f"{field.name} is {','.join(texts)!r}; expected {kind} with commas "
            "between them"
        ) from None


def run(main: Callable[[], int | None], *, resumes: bool = False) -> None:
    """Runs a program: what users can put right is one line, without traceback.

    Args:
      main: gets the arguments that are no flags, the program's name first.
      resumes: whether an interrupted program goes on where it was.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    def guarded(argv):
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.ERROR)  # TFDS tells of every file
            stdlib_logging.getLogger("tensorflow").setLevel(stdlib_logging.ERROR)
        try:
            sys.exit(main(argv[1:]))
        except InputError as error:
            text = str(error)
            # The library names settings; on the command line they are flags.
            dashes = "--" if text.split()[0] in flags.FLAGS else ""
            sys.exit(f"error: {dashes}{text}")
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            # HDF5 tells a full disk in several lines.
            what = " ".join(str(error.strerror or error).split())
            sys.exit(f"error: {where}{what}")
        except KeyboardInterrupt:
            hint = "; the same command goes on where it was" if resumes else ""
            sys.exit(f"interrupted{hint}")

    app.run(guarded)
