"""From the name of a dataset to images in memory."""

import hashlib
import importlib
import os
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging

from air_tf.config import DataConfig, PictureConfig
from air_tf.config.checks import one_of
from air_tf.config.datasets import (
    BUILDERS,
    REAL_PICTURES,
    USER_SOURCES,
    require_dataset,
)
from air_tf.data import origins, user_images
from air_tf.data.picture_windows import PictureSet, window_set
from air_tf.data.scenes import SPLITS
from air_tf.errors import InputError, OutputError
from air_tf.structs import ImageSet

# TFDS takes seconds to import, and users' own images don't need it. So the functions
# below import it where they need it.
if TYPE_CHECKING:
    import tensorflow_datasets as tfds

MIN_USER_IMAGES = 10
_READ_BATCH = 1000


def load_splits(
    config: DataConfig,
    splits: Collection[str],
    *,
    image_shape: tuple[int, int, int],
    data_dir: str | None = None,
    with_details: Collection[str] = (),
    of_one_camera: bool = False,
    pictures: PictureConfig | None = None,
) -> dict[str, ImageSet]:
    """Loads splits of a dataset. Prepares the dataset first if necessary.

    A user's own images are split as by `split_user_images`.

    Args:
      config: which dataset.
      splits: names in `SPLITS`.
      image_shape: (H, W, C) of the canvas; a folder's pictures are resized to it.
      data_dir: of TFDS; its own default if omitted.
      of_one_camera: whether a folder's pictures may not be stretched.
      pictures: of a run that cuts windows from a folder's pictures.
      with_details: splits for which labels and segmentations are loaded, too, if the
        dataset has them. They take as much memory as the images. Labels, positions
        and yaws of objects on a table are always loaded.

    Raises:
      InputError: for an unknown dataset or split, a dataset that can't be downloaded,
        or a file that can't be read.
      OutputError: if a dataset can't be written into `data_dir`.
    """
    for split in splits:
        if split not in SPLITS:
            raise InputError(f"is {split!r}; expected {one_of(SPLITS)}", field="split")
    if pictures is not None and config.dataset == "folder":
        return window_splits(load_pictures(config, pictures), splits, image_shape)
    if config.dataset in USER_SOURCES:
        images = load_user_images(
            config, image_shape=image_shape, of_one_camera=of_one_camera
        )
        if len(images.images) < MIN_USER_IMAGES:
            raise InputError(
                f"{config.data_file or config.image_dir}: holds {len(images.images)} "
                f"images; expected at least {MIN_USER_IMAGES} for training"
            )
        return {split: split_user_images(images, split) for split in splits}
    require_dataset(config.dataset)
    builder = prepare(config.dataset, data_dir=data_dir)
    return {
        split: _read_split(builder, split, details=split in with_details)
        for split in splits
    }


def load_user_images(
    config: DataConfig,
    *,
    image_shape: tuple[int, int, int],
    of_one_camera: bool = False,
) -> ImageSet:
    """All images of a user's file or folder.

    Args:
      config: which file or folder.
      image_shape: (H, W, C) of the canvas; a folder's pictures are resized to it.
      of_one_camera: whether they may not be stretched.

    Raises:
      InputError: if `config` names no file or folder, or it can't be read.
    """
    if config.data_file is not None:
        return user_images.read_npz(config.data_file)
    if config.image_dir is not None:
        return user_images.read_folder(
            config.image_dir, image_shape, of_one_camera=of_one_camera
        )
    raise InputError(
        f"is {config.dataset!r}; expected {one_of(USER_SOURCES)}", field="dataset"
    )


def load_pictures(config: DataConfig, settings: PictureConfig) -> PictureSet:
    """The pictures of a user's folder, at their own scale.

    Args:
      config: which folder.
      settings: how; what they leave open is measured.

    Raises:
      InputError: if the folder holds no picture that can be used.
    """
    if config.image_dir is None:
        raise InputError(
            f"is {config.dataset!r}; expected folder, with pictures of any size",
            field="dataset",
        )
    return PictureSet.of_folder(config.image_dir, settings)


def window_splits(
    pictures: PictureSet, splits: Collection[str], image_shape: tuple[int, int, int]
) -> dict[str, ImageSet]:
    """Windows of each split of pictures, as images of the canvas' size."""
    return {
        split: window_set(pictures.split(split), image_shape[:2]) for split in splits
    }


def split_user_images(images: ImageSet, split: str) -> ImageSet:
    """A split of a user's images: 8 : 1 : 1, after a shuffle that is always the same.

    Args:
      images: all of them.
      split: one of `SPLITS`.
    """
    num = len(images.images)
    order = np.random.default_rng(0).permutation(num)
    tenth = num // 10
    rows = {
        "test": order[:tenth],
        "validation": order[tenth : 2 * tenth],
        "train": order[2 * tenth :],
    }[split]
    return ImageSet(*(None if field is None else field[rows] for field in images))


def fingerprint(images: ImageSet) -> str:
    """A hash of images, to recognise a user's data wherever the file is."""
    digest = hashlib.sha256(repr((images.images.shape, images.images.dtype)).encode())
    digest.update(np.ascontiguousarray(images.images).data)
    return digest.hexdigest()


def prepare(
    dataset: str,
    *,
    data_dir: str | None = None,
    manual_dir: str | None = None,
    beam_options: Any = None,
) -> "tfds.core.DatasetBuilder":
    """Prepares a dataset, unless it is there already.

    Args:
      dataset: one of `BUILDERS` or `REAL_PICTURES`, optionally with a configuration, as
        in "multi_mnist/0-3".
      data_dir: of TFDS; its own default if omitted.
      manual_dir: folder with the original files of the dataset, or of the one that
        scenes are composed of, used instead of a download.
      beam_options: of a pipeline of Beam that composes the scenes, with its runner;
        None to compose them in this process.

    Returns:
      The TFDS builder, whose splits can be read.

    Raises:
      InputError: for an unknown dataset, or one that can't be downloaded.
      OutputError: if the dataset can't be written.
    """
    name, _, config = dataset.partition("/")
    require_dataset(dataset, (*BUILDERS, *REAL_PICTURES))
    import tensorflow_datasets as tfds

    tfds.display_progress_bar(False)
    builder_cls = importlib.import_module(f"air_tf.data.{name}").Builder
    if config and config not in builder_cls.builder_configs:
        raise InputError(
            f"is {dataset!r}; {name} has the configurations "
            f"{', '.join(builder_cls.builder_configs)}",
            field="dataset",
        )
    real = name in REAL_PICTURES
    if manual_dir is not None and not real and builder_cls.ORIGIN is None:
        raise InputError(
            f"is {manual_dir!r}; expected nothing with {name}, which uses no files",
            field="manual_dir",
        )
    if beam_options is not None and real:
        raise InputError(
            f"is given; expected nothing with {name}, which is not composed",
            field="beam_runner",
        )
    builder = builder_cls(data_dir=data_dir, config=config or None)
    if builder.data_path.exists():
        return builder
    if real:
        _require_folder(manual_dir)
    elif builder.ORIGIN is not None:
        origins.fetch(builder.ORIGIN, builder.data_dir_root, manual_dir)
    logging.info("Preparing %s ...", builder.info.full_name)
    try:
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(
                compute_stats=tfds.download.ComputeStatsMode.SKIP,
                manual_dir=manual_dir if real else None,
                beam_options=beam_options,
            )
        )
    except OSError as error:
        raise OutputError(
            f"{builder.data_path}: can't be written ({error.strerror or error})"
        ) from error
    return builder


def _require_folder(manual_dir: str | None) -> None:
    """TFDS would download what is not there."""
    if manual_dir is not None and not os.path.isdir(manual_dir):
        raise InputError(f"is {manual_dir!r}; expected a folder", field="manual_dir")


def _read_split(
    builder: "tfds.core.DatasetBuilder", split: str, *, details: bool
) -> ImageSet:
    """Decodes all images of a split, once: then a training step only copies rows."""
    import tensorflow_datasets as tfds

    num = builder.info.splits[split].num_examples
    most = builder.builder_config.scenes.max_objects
    shape = builder.info.features["image"].shape
    features = builder.info.features["objects"].feature
    names = _object_fields(features, details=details)
    objects = {
        name: np.zeros((num, most, *features[name].shape), features[name].np_dtype)
        for name in names
    }
    found = ImageSet(
        images=np.empty((num, *shape), np.uint8),
        counts=np.empty(num, np.int64),
        segmentation=np.empty((num, *shape[:2]), np.uint8) if details else None,
        **{field: objects[name] for name, field in names.items()},
    )
    wanted = {
        "image": True,
        "count": True,
        "objects": dict.fromkeys(names, True),
        "segmentation": details,
    }
    dataset = builder.as_dataset(
        split=split, decoders=tfds.decode.PartialDecoding(wanted)
    )
    start = 0
    for batch in dataset.ragged_batch(_READ_BATCH).as_numpy_iterator():
        end = start + len(batch["count"])
        found.images[start:end] = batch["image"]
        found.counts[start:end] = batch["count"]
        if details:
            found.segmentation[start:end] = batch["segmentation"][..., 0]
        for name in names:
            for i, values in enumerate(batch["objects"][name], start):
                objects[name][i, : len(values)] = values
        start = end
    return found


def _object_fields(features: Collection[str], *, details: bool) -> dict[str, str]:
    """Fields of `ImageSet` for the features of an object that are to be read."""
    fields = {"bbox": "boxes"}
    on_table = "position" in features
    if on_table:
        fields |= {"position": "positions", "yaw": "yaws"}
    if on_table or details:
        fields["label"] = "labels"
    return fields
