"""Functions of the programs in `scripts/`: common flags, checks, errors, logging."""

import contextlib
import dataclasses
import logging as stdlib_logging
import os
import pathlib
import re
import sys
from collections.abc import Callable

from absl import app, flags, logging

from air_tf.config import PictureConfig
from air_tf.config.checks import one_of
from air_tf.config.model import MAX_OBJECTS
from air_tf.errors import AirTFError, InputError
from air_tf.pretrained import list_pretrained
from air_tf.runs import RunDir
from air_tf.xla_cache import kept_compilations

# Flags of earlier versions, with their new names.
_RENAMED = {"max_steps_per_image": "max_objects"}


def define_data_dir() -> None:
    flags.DEFINE_string(
        "data_dir", None, "Folder of TFDS datasets. Default: the default of TFDS."
    )


def define_model_dir() -> None:
    flags.DEFINE_string(
        "model_dir",
        None,
        "Folder of a run, written by train.py; or a model that comes with air_tf: "
        f"{one_of(list_pretrained())}.",
    )


def define_run_to_use() -> None:
    """Defines --model_dir, --max_objects and --proposals."""
    define_model_dir()
    flags.DEFINE_integer(
        "max_objects",
        None,
        "T, the largest count that can be inferred. Default: that of training.",
    )
    flags.DEFINE_integer(
        "proposals",
        None,
        "How often an image that is explained badly is explained again. Default: that "
        "of training. 0: never.",
    )


def define_overwrite() -> None:
    flags.DEFINE_boolean("overwrite", False, "Replace existing files.")


def define_answers() -> None:
    """Defines the flags for the results of programs that read pictures."""
    flags.DEFINE_string(
        "output_dir",
        None,
        "Folder for the results. Default: JSON is printed, one line for each picture.",
    )
    define_overwrite()


def define_picture_flags() -> None:
    """Defines the flags for models of pictures of any size."""
    only = "Only for models of pictures of any size. "
    flags.DEFINE_integer(
        "page",
        None,
        only + "Page of TIFF files to use, from 0 on. Default: that of training.",
    )
    flags.DEFINE_integer(
        "channel",
        None,
        only + "Channel to use, from 0 on. Default: that of training.",
    )
    flags.DEFINE_boolean(
        "rois", False, only + "Also write rois/NAME.zip, regions of ImageJ."
    )


def given_pictures(settings: PictureConfig | None) -> PictureConfig | None:
    """A model's settings of pictures of any size, with the flags that are given.

    Raises:
      InputError: for such a flag if the model has no such settings.
    """
    given = {
        name: getattr(flags.FLAGS, name)
        for name in ("page", "channel")
        if getattr(flags.FLAGS, name) is not None
    }
    if settings is not None:
        return dataclasses.replace(settings, **given)
    for name in [*given, *(["rois"] if flags.FLAGS.rois else [])]:
        raise InputError(
            "is given; expected nothing for a model that resizes pictures", field=name
        )
    return None


def run_to_use(*, in_2d: bool = False) -> RunDir:
    """The run that the flags of `define_run_to_use` name.

    Args:
      in_2d: whether it must be of two-dimensional scenes.

    Raises:
      InputError: for one that is not trained to its end, or for numbers that its model
        can't take. All this needs no TensorFlow.
    """
    steps = flags.FLAGS.max_objects
    if steps is not None and not 1 <= steps <= MAX_OBJECTS:
        expected = f"expected 1 to {MAX_OBJECTS}"
        raise InputError(f"is {steps}; {expected}", field="max_objects")
    run = trained_run(in_2d=in_2d)
    run.read_config().model.num_proposals(flags.FLAGS.proposals)
    return run


def trained_run(*, in_2d: bool = False) -> RunDir:
    """The run that --model_dir names.

    Raises:
      InputError: as `RunDir.require_model`.
    """
    require("model_dir", "the folder of a run, or a model that comes with air_tf")
    run = RunDir(flags.FLAGS.model_dir)
    run.require_model(in_2d=in_2d)
    return run


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


def run(
    main: Callable[[list[str]], int | None],
    *,
    resumes: bool = False,
    keeps_unknown: bool = False,
) -> None:
    """Runs a program. An AirTFError ends it with one line, without a traceback.

    Args:
      main: called with the arguments that are not flags; returns the exit status.
      resumes: whether the program resumes after an interruption if it is run again. It
        then finds what XLA compiled before (`air_tf.xla_cache`).
      keeps_unknown: whether `main` gets unknown flags, too, for another library.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    _refuse_renamed_flags()

    def guarded(argv):
        if not flags.FLAGS["verbosity"].present:
            log_for_users()
        try:
            with kept_compilations() if resumes else contextlib.nullcontext():
                status = main(argv[1:])
            sys.exit(status)
        except AirTFError as error:
            sys.exit(f"error: {in_flags(error)}")
        except KeyboardInterrupt:
            hint = "; run the same command again to resume" if resumes else ""
            sys.exit(f"interrupted{hint}")

    parse = _parse_known if keeps_unknown else app.parse_flags_with_usage
    app.run(guarded, flags_parser=parse)


def _parse_known(arguments: list[str]) -> list[str]:
    try:
        return flags.FLAGS(arguments, known_only=True)
    except flags.Error as error:
        sys.exit(f"error: {error}")


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
