"""Third-party datasets that scenes are composed of, downloaded by TFDS."""

import os
from typing import NamedTuple

from air_tf.errors import InputError

_NETWORK_SECONDS = 10


class Origin(NamedTuple):
    """A dataset of TFDS."""

    title: str
    name: str  # with its version, as for `tfds.builder`
    host: str  # that it is downloaded from
    files: tuple[str, ...]  # its original files


MNIST = Origin(
    "MNIST",
    "mnist:3.0.1",
    "https://storage.googleapis.com",
    tuple(
        f"{part}-ubyte.gz"
        for part in (
            "train-images-idx3",
            "train-labels-idx1",
            "t10k-images-idx3",
            "t10k-labels-idx1",
        )
    ),
)
OMNIGLOT = Origin(
    "Omniglot",
    "omniglot:3.0.0",
    "https://github.com",
    tuple(
        f"images_{part}.zip"
        for part in (
            "background",
            "evaluation",
            "background_small1",
            "background_small2",
        )
    ),
)


def fetch(
    origin: Origin, data_dir: str | os.PathLike | None, manual_dir: str | None
) -> None:
    """Downloads and prepares a third-party dataset, unless it is there already.

    Args:
      origin: which.
      data_dir: of TFDS; its own default if None.
      manual_dir: folder with its original files, used instead of a download.

    Raises:
      InputError: if it can't be downloaded, or the files can't be used.
    """
    # Imported here: it takes seconds, and users' own images don't need it.
    import tensorflow_datasets as tfds

    if manual_dir is not None:
        _check_files(origin, manual_dir)
    builder = tfds.builder(origin.name, data_dir=data_dir)
    if builder.data_path.exists():
        return
    if manual_dir is None and (error := network_error(origin.host)) is not None:
        raise InputError(_no_download(origin, error))
    try:
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
        )
    except Exception as error:
        # The layers below raise many types, all for the same reason.
        if manual_dir is not None:
            raise InputError(
                f"is {manual_dir!r}, but {origin.title} can't be prepared from its "
                f"files ({type(error).__name__}); expected the complete original files",
                field="manual_dir",
            ) from error
        raise InputError(_no_download(origin, error)) from error


def _check_files(origin: Origin, folder: str) -> None:
    """Refuses an incomplete folder, since TFDS would download what is missing."""
    if not os.path.isdir(folder):
        raise InputError(f"is {folder!r}; expected a folder", field="manual_dir")
    missing = [name for name in origin.files if name not in os.listdir(folder)]
    if missing:
        raise InputError(
            f"is {folder!r}, where {', '.join(missing)} is missing; expected the files "
            f"of {origin.title}: {', '.join(origin.files)}",
            field="manual_dir",
        )


def network_error(host: str) -> Exception | None:
    """Why a host can't be reached, or None; TFDS would retry for minutes."""
    import requests

    try:
        requests.head(host, timeout=_NETWORK_SECONDS)
    except requests.RequestException as error:
        return error
    return None


def _no_download(origin: Origin, error: Exception) -> str:
    return (
        f"{origin.title} is not in `data_dir` and can't be downloaded "
        f"({type(error).__name__}). Without a network, either copy a prepared "
        f"{origin.name.replace(':', '/')} into `data_dir`, or give a folder with "
        "the original files to scripts/prepare_data.py as `manual_dir`, or choose "
        "`dataset` multi_digits or sprites, which download nothing"
    )
