"""From the name of a dataset to images in memory."""

import hashlib
import importlib
from collections.abc import Sequence

import numpy as np

from air_tf.config import DataConfig
from air_tf.data import origins, user_images
from air_tf.data.scenes import SPLITS
from air_tf.errors import InputError
from air_tf.structs import ImageSet

BUILDERS = ("multi_digits", "multi_mnist", "multi_omniglot", "sprites")
USER_SOURCES = ("file", "folder")
MIN_USER_IMAGES = 10
_READ_BATCH = 1000


def load_splits(
    config: DataConfig,
    splits: Sequence[str],
    *,
    image_shape: tuple[int, int, int],
    data_dir: str | None = None,
    with_details: Sequence[str] = (),
) -> dict[str, ImageSet]:
    """Loads splits of a dataset, preparing it first if need be.

    A user's own images are split 8 : 1 : 1 by a fixed shuffle.

    Args:
      config: which dataset.
      splits: names in `SPLITS`.
      image_shape: of the canvas; a folder's pictures are stretched to it.
      data_dir: of TFDS; its own default if omitted.
      with_details: of these splits, labels and segmentation, too, where known: they
        take as much memory as the images.

    Raises:
      InputError: for a dataset that does not exist or can't be had, or a file
        that can't be read.
    """
    for split in splits:
        if split not in SPLITS:
            raise InputError(f"split is {split!r}; expected {', '.join(SPLITS)}")
    if config.dataset in USER_SOURCES:
        images = load_user_images(config, image_shape=image_shape)
        if len(images.images) < MIN_USER_IMAGES:
            raise InputError(
                f"{config.data_file or config.image_dir}: holds {len(images.images)} "
                f"images; expected at least {MIN_USER_IMAGES} to train on"
            )
        return {split: split_user_images(images, split) for split in splits}
    builder = prepare(config.dataset, data_dir=data_dir)
    return {
        split: _read_split(builder, split, details=split in with_details)
        for split in splits
    }


def load_user_images(
    config: DataConfig, *, image_shape: tuple[int, int, int]
) -> ImageSet:
    """All images of a user's file or folder."""
    if config.dataset == "file":
        return user_images.read_npz(config.data_file)
    return user_images.read_folder(config.image_dir, image_shape)


def fingerprint(images: ImageSet) -> str:
    """Tells one user's images from another's, wherever their file lies."""
    digest = hashlib.sha256(repr((images.images.shape, images.images.dtype)).encode())
    digest.update(np.ascontiguousarray(images.images))
    return digest.hexdigest()


def prepare(
    dataset: str, *, data_dir: str | None = None, manual_dir: str | None = None
):
    """The TFDS builder of a dataset, its files made if they are not there yet.

    Args:
      dataset: as in "multi_mnist" or "multi_mnist/0-3".
      data_dir: of TFDS; its own default if omitted.
      manual_dir: a folder with the original files of what the scenes are made of,
        used instead of a download.

    Raises:
      InputError: for a dataset that does not exist or can't be downloaded.
    """
    name, _, config = dataset.partition("/")
    if name not in BUILDERS:
        raise InputError(
            f"dataset is {dataset!r}; expected {', '.join(BUILDERS + USER_SOURCES)}"
        )
    # Here, since importing TFDS takes seconds that users' own files don't need.
    import tensorflow_datasets as tfds

    tfds.display_progress_bar(False)
    builder_cls = importlib.import_module(f"air_tf.data.{name}").Builder
    if config and config not in builder_cls.builder_configs:
        raise InputError(
            f"dataset is {dataset!r}; {name} has the configurations "
            f"{', '.join(builder_cls.builder_configs)}"
        )
    if manual_dir is not None and builder_cls.ORIGIN is None:
        raise InputError(
            f"manual_dir is {manual_dir!r}; expected none for {name}, which is made of "
            "no files"
        )
    builder = builder_cls(data_dir=data_dir, config=config or None)
    if builder.data_path.exists():
        return builder
    if builder.ORIGIN is not None:
        origins.fetch(builder.ORIGIN, builder.data_dir_root, manual_dir)
    print(f"Composing the scenes of {builder.info.full_name} ...", flush=True)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            compute_stats=tfds.download.ComputeStatsMode.SKIP
        )
    )
    return builder


def _read_split(builder, split: str, *, details: bool) -> ImageSet:
    """Decodes every image once: uint8 arrays, a step then only copies rows."""
    import tensorflow_datasets as tfds

    num = builder.info.splits[split].num_examples
    most = max(builder.builder_config.scenes.counts)
    shape = builder.info.features["image"].shape
    images = np.empty((num, *shape), np.uint8)
    counts = np.empty(num, np.int64)
    boxes = np.zeros((num, max(most, 1), 4), np.float32)
    wanted = {"image": True, "count": True, "objects": {"bbox": True}}
    labels = segmentation = None
    if details:
        labels = np.zeros((num, max(most, 1)), np.int64)
        segmentation = np.empty((num, *shape[:2]), np.uint8)
        wanted |= {
            "segmentation": True,
            "objects": {"bbox": True, "label": True},
        }
    dataset = builder.as_dataset(
        split=split, decoders=tfds.decode.PartialDecoding(wanted)
    )
    start = 0
    for batch in dataset.ragged_batch(_READ_BATCH).as_numpy_iterator():
        end = start + len(batch["count"])
        images[start:end] = batch["image"]
        counts[start:end] = batch["count"]
        for i, one in enumerate(batch["objects"]["bbox"]):
            boxes[start + i, : len(one)] = one
        if details:
            segmentation[start:end] = batch["segmentation"][..., 0]
            for i, one in enumerate(batch["objects"]["label"]):
                labels[start + i, : len(one)] = one
        start = end
    return ImageSet(images, counts, boxes, labels, segmentation)


def split_user_images(images: ImageSet, split: str) -> ImageSet:
    """A split of a user's images, 8 : 1 : 1 by a fixed shuffle."""
    num = len(images.images)
    order = np.random.default_rng(0).permutation(num)
    tenth = num // 10
    rows = {
        "test": order[:tenth],
        "validation": order[tenth : 2 * tenth],
        "train": order[2 * tenth :],
    }[split]
    return ImageSet(*(None if field is None else field[rows] for field in images))
