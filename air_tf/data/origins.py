"""Other people's datasets that scenes are composed of, had through TFDS."""

import os
from typing import NamedTuple

from air_tf.errors import InputError

_NETWORK_SECONDS = 10


class Origin(NamedTuple):
    """A dataset of TFDS."""

    title: str
    name: str  # with its version
    host: str  # it is downloaded from
    files: tuple[str, ...]


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


def fetch(origin: Origin, data_dir, manual_dir: str | None) -> None:
    """Downloads and prepares it, if it is not there yet.

    Args:
      origin: which.
      data_dir: of TFDS.
      manual_dir: a folder with its original files, used instead of a download.

    Raises:
      InputError: if it can't be had.
    """
    # Here, since importing TFDS takes seconds that users' own files don't need.
    import tensorflow_datasets as tfds

    if manual_dir is not None:
        _check_files(origin, manual_dir)
    builder = tfds.builder(origin.name, data_dir=data_dir)
    if builder.data_path.exists():
        return
    if manual_dir is None:
        _require_network(origin)
    try:
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
        )
    except Exception as error:
        # Whatever the download layers raise; all of them mean the same here.
        if manual_dir is not None:
            raise InputError(
                f"manual_dir is {manual_dir!r}, from which {origin.title} can't be "
                f"prepared ({type(error).__name__}); expected its original files, "
                "complete"
            ) from error
        raise InputError(_no_download(origin, error)) from error


def _check_files(origin: Origin, folder: str) -> None:
    """What is not there would be downloaded."""
    if not os.path.isdir(folder):
        raise InputError(f"manual_dir is {folder!r}; expected a folder")
    missing = [name for name in origin.files if name not in os.listdir(folder)]
    if missing:
        raise InputError(
            f"manual_dir is {folder!r}, where {', '.join(missing)} is missing; "
            f"expected {origin.title}'s files {', '.join(origin.files)}"
        )


def _require_network(origin: Origin) -> None:
    """Fails at once where TFDS would try again for minutes."""
    import requests

    try:
        requests.head(origin.host, timeout=_NETWORK_SECONDS)
    except requests.RequestException as error:
        raise InputError(_no_download(origin, error)) from None


def _no_download(origin: Origin, error: Exception) -> str:
    return (
        f"{origin.title} is not in the data_dir, and can't be downloaded "
        f"({type(error).__name__}); expected the --data_dir that has it. Without a "
        f"network, put a prepared {origin.name.replace(':', '/')} into one, or its "
        "original files into a folder and run scripts/prepare_data.py "
        "--manual_dir=FOLDER; --dataset=multi_digits needs no download"
    )
