"""Keeps what XLA compiles, so that the next run on this machine need not compile it.

What is kept is machine code, which a later run executes. So the folder and all folders
above it must belong to the user, or root, and be closed to changes by others. XLA
compares the whole computation before it takes compiled code, but not the processor,
its flags, or whether a file is complete: a training would end with an error, each time,
after a file that was half written. So each run has a folder of its own, of links to
files whose checksum is right, and moves new files to the common one when it has ended.
"""

import contextlib
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator

from air_tf.errors import InputError, ProcessKilled
from air_tf.files import file_hash

_FLAGS = "TF_XLA_FLAGS"
# What TensorFlow and XLA read when they compile.
_SETTINGS = ("XLA_FLAGS", "TF_NUM_INTRAOP_THREADS", "TF_ENABLE_ONEDNN_OPTS")
# Files of about 5 MB; those that were compiled last are kept.
_MOST_FILES = 20
_ABANDONED_SECONDS = 7 * 24 * 3600
_PRIVATE = ".run-"


@contextlib.contextmanager
def kept_compilations() -> Iterator[None]:
    """Lets XLA use what earlier runs compiled, and keeps what is compiled in the block.

    TensorFlow must not be imported before. Does nothing if the environment variable
    TF_XLA_FLAGS is set, or if there is no folder that is safe.
    """
    common = None if _FLAGS in os.environ else _common_folder()
    if common is None:
        yield
        return
    private = None
    with contextlib.suppress(OSError):
        private = pathlib.Path(tempfile.mkdtemp(prefix=_PRIVATE, dir=common))
        _tidy(common)
        _link(common, private)
    if private is None:
        yield
        return
    os.environ[_FLAGS] = (
        f"--tf_xla_persistent_cache_directory={private} "
        "--tf_xla_persistent_cache_device_types=CPU"
    )
    try:
        yield
    except ProcessKilled:  # perhaps while it wrote a file
        raise
    except BaseException:
        _publish(private, common)
        raise
    else:
        _publish(private, common)
    finally:
        del os.environ[_FLAGS]
        shutil.rmtree(private, ignore_errors=True)


def _common_folder() -> pathlib.Path | None:
    """The user's folder for this TensorFlow and processor; None if it is not safe."""
    try:
        given = pathlib.Path(os.environ.get("XDG_CACHE_HOME", ""))
        # The XDG specification: a path that is not absolute is ignored.
        base = given if given.is_absolute() else pathlib.Path.home() / ".cache"
        key = hashlib.sha256(_machine().encode()).hexdigest()[:16]
        version = importlib.metadata.version("tensorflow")
        folder = base.resolve() / "air_tf" / "xla" / f"{version}-{key}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = folder.resolve()
        safe = all(_only_we_write(path) for path in (folder, *folder.parents))
    except (OSError, RuntimeError, importlib.metadata.PackageNotFoundError):
        return None
    # The flags are split at spaces.
    return folder if safe and not any(map(str.isspace, str(folder))) else None


def _only_we_write(path: pathlib.Path) -> bool:
    found = path.stat()
    # In a folder like /tmp, only the owner may replace what is in it.
    open_to_others = found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX
    return found.st_uid in (0, os.getuid()) and not open_to_others


def _machine() -> str:
    """What compiled code depends on, besides the computation and TensorFlow."""
    kinds = ("model name", "flags", "Features", "CPU part")
    processor = platform.processor()
    with contextlib.suppress(OSError):
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        processor = "\n".join(sorted({x for x in lines if x.startswith(kinds)}))
    settings = [os.environ.get(name) for name in _SETTINGS]
    return f"{platform.machine()} {os.cpu_count()} {settings} {processor}"


def _tidy(common: pathlib.Path) -> None:
    """Deletes all but the latest files, and what killed runs left a week ago."""
    files = [path for path in common.iterdir() if path.is_file()]
    files.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[_MOST_FILES:]:
        path.unlink(missing_ok=True)
    for path in common.glob(f"{_PRIVATE}*"):
        if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def _link(common: pathlib.Path, private: pathlib.Path) -> None:
    """Links files whose contents have the checksum in their name; deletes others."""
    for path in common.glob("*.pb"):
        name, _, checksum = path.stem.rpartition(".")
        with contextlib.suppress(OSError, InputError):
            if file_hash(path) == checksum:
                os.link(path, private / f"{name}.pb")
            else:
                path.unlink()


def _publish(private: pathlib.Path, common: pathlib.Path) -> None:
    """Moves new files to the common folder, with their checksum in the name."""
    with contextlib.suppress(OSError, InputError):
        for path in private.glob("*.pb"):
            target = common / f"{path.stem}.{file_hash(path)}.pb"
            if not target.exists():  # else it is a link to it
                os.replace(path, target)
