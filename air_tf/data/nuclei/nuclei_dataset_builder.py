"""Fluorescence pictures of nuclei, with labels."""

import csv
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from air_tf.data import origins
from air_tf.data.nuclei import originals
from air_tf.data.nuclei.originals import Archive, Files
from air_tf.errors import InputError

_HOST = "https://data.broadinstitute.org/bbbc"


@dataclasses.dataclass(eq=False, kw_only=True)
class NucleiConfig(tfds.core.BuilderConfig):
    """One set of pictures.

    Attributes:
      size: (H, W) of a picture.
      dtype: of its pixels.
      archives: the originals.
      read: from the files of the archives, by the archive's name, and names of
        pictures to the pictures and their labels.
    """

    size: tuple[int, int]
    dtype: type[np.unsignedinteger]
    archives: tuple[Archive, ...]
    read: Callable[
        [Mapping[str, Files], list[str]], Iterator[tuple[np.ndarray, np.ndarray]]
    ]


class Builder(tfds.core.GeneratorBasedBuilder):
    """TFDS builder `nuclei`: pictures from the Broad Bioimage Benchmark Collection.

    `dl_manager.manual_dir` may hold the original archives, their unpacked folders, or
    an .npz file of the configuration's name. Otherwise the archives are downloaded.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Only without a network: the original archives, or folders with their files."
    )
    # Checksums are here and not in checksums.tsv, where TFDS wants the length of each
    # file, too.
    BUILDER_CONFIGS: ClassVar = [
        NucleiConfig(
            name="dsb2018_256",
            description="334 pictures of 256x256 pixels and 8 bits of BBBC038v1.",
            size=(256, 256),
            dtype=np.uint8,
            archives=(
                Archive(
                    f"{_HOST}/BBBC038/stage1_train.zip",
                    "dcb6edc2690f137406638b2309581a71522c4dff19157d118453b448dcddcb68",
                ),
            ),
            read=originals.read_dsb2018,
        ),
        NucleiConfig(
            name="bbbc039_half",
            description="103 pictures of BBBC039v1 at half size: 260x348 pixels.",
            size=(260, 348),
            dtype=np.uint16,
            archives=(
                Archive(
                    f"{_HOST}/BBBC039/images.zip",
                    "6f30a5d4fe38c928ded972704f085975f8dc0d65d9aa366df00e5a9d449fddd7",
                ),
                Archive(
                    f"{_HOST}/BBBC039/masks.zip",
                    "f9e6043d8ca56344a4886f96a700d804d6ee982f31e2b2cd3194af2a053c2710",
                ),
            ),
            read=originals.read_bbbc039,
        ),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(
                        shape=(*config.size, 1), dtype=config.dtype
                    ),
                    # 0 is the ground, 1, 2, ... are nuclei.
                    "label": tfds.features.Image(
                        shape=(*config.size, 1), dtype=np.uint16
                    ),
                    "count": tfds.features.Scalar(dtype=np.int64),
                    "id": tfds.features.Text(),
                    "field": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "count"),
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        read = self._reader(dl_manager)
        rows = pictures_of(self.builder_config.name)
        return {
            split: self._generate_examples(
                read, [row for row in rows if row["split"] == split]
            )
            for split in ("train", "test")
        }

    def _reader(
        self, dl_manager: tfds.download.DownloadManager
    ) -> Callable[[list[str]], Iterator[tuple[np.ndarray, np.ndarray]]]:
        """A function from names of pictures to the pictures and their labels."""
        config = self.builder_config
        try:
            folder = pathlib.Path(dl_manager.manual_dir)
        except AssertionError:  # no such folder, or nothing in it
            folder = None
        if folder is not None:
            npz = folder / f"{config.name}.npz"
            if npz.exists():
                return lambda names: originals.read_npz(npz, names, config.size)
        paths = _in_folder(folder, config.archives)
        if paths is None:
            paths = _download(dl_manager, config.archives)
        files = {}
        for archive, path in zip(config.archives, paths, strict=True):
            if not path.is_dir():
                originals.require_sha256(path, archive)
            files[archive.name] = Files(path)
        return lambda names: config.read(files, names)

    def _generate_examples(
        self,
        read: Callable[[list[str]], Iterator[tuple[np.ndarray, np.ndarray]]],
        rows: list[dict[str, str]],
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        others = 0
        pictures = read([row["id"] for row in rows])
        for row, (image, label) in zip(rows, pictures, strict=True):
            count = int(label.max())
            others += count != int(row["count"])
            yield (
                row["id"],
                {
                    "image": image[..., np.newaxis],
                    "label": label[..., np.newaxis],
                    "count": count,
                    "id": row["id"],
                    "field": row["field"],
                },
            )
        if others:
            logging.warning(
                "%d of %d pictures hold other numbers of nuclei than expected: figures "
                "in the documentation are of slightly different labels.",
                others,
                len(rows),
            )


def pictures_of(config: str) -> list[dict[str, str]]:
    """The pictures of a configuration: `id`, `field`, `split` and `count` of each.

    They are listed in a file because the archives don't tell fields.
    """
    path = pathlib.Path(__file__).with_name(f"{config}.tsv")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _in_folder(
    folder: pathlib.Path | None, archives: tuple[Archive, ...]
) -> list[pathlib.Path] | None:
    """The archives, or the folders with their files; None if one is not in `folder`."""
    if folder is None:
        return None
    paths = []
    for archive in archives:
        ways = folder / archive.file, folder / archive.name
        found = [path for path in ways if path.exists()]
        if not found:
            return None
        paths.append(found[0])
    return paths


def _download(
    dl_manager: tfds.download.DownloadManager, archives: tuple[Archive, ...]
) -> list[pathlib.Path]:
    if (problem := origins.network_error(_HOST)) is not None:
        raise _no_download(archives, problem)
    try:
        return [
            pathlib.Path(path)
            for path in dl_manager.download([archive.url for archive in archives])
        ]
    except Exception as error:
        # The layers below raise many types, all for the same reason.
        raise _no_download(archives, error) from error


def _no_download(archives: tuple[Archive, ...], error: Exception) -> InputError:
    return InputError(
        f"{' and '.join(archive.url for archive in archives)} can't be downloaded "
        f"({type(error).__name__}). Without a network, give a folder with "
        f"{' and '.join(archive.file for archive in archives)} to "
        "scripts/prepare_data.py as `manual_dir`"
    )
