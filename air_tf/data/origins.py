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


MNIST = Origin("MNIST", "mnist:3.0.1", "https://storage.googleapis.com")
OMNIGLOT = Origin("Omniglot", "omniglot:3.0.0", "https://github.com")


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

    if manual_dir is not None and not os.path.isdir(manual_dir):
        raise InputError(f"manual_dir is {manual_dir!r}; expected a folder")
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
                "complete and under their original names"
            ) from error
        raise InputError(_no_download(origin, error)) from error


def _require_network(origin: Origin) -> None:
    """Fails at once where TFDS would try again for minutes."""
    import requests

    try:
        requests.head(origin.host, timeout=_NETWORK_SECONDS)
    except requests.RequestException as error:
        raise InputError(_no_download(origin, error)) from None


def _no_download(origin: Origin, error: Exception) -> str:
    return (
        f"{origin.title} can't be downloaded ({type(error).__name__}); without a "
        f"network, put a prepared {origin.name.replace(':', '/')} into --data_dir, or "
        "its original files into a folder and run scripts/prepare_data.py "
        "--manual_dir=FOLDER; --dataset=multi_digits needs no download"
    )
