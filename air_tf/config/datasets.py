"""Names of the datasets that a run can be trained on."""

from collections.abc import Collection

from air_tf.config.checks import one_of
from air_tf.errors import InputError

# Generated scenes. Each has a folder in `air_tf/data` with its TFDS builder.
BUILDERS = (
    "multi_digits",
    "multi_dsprites",
    "multi_mnist",
    "multi_omniglot",
    "sprites",
    "tetrominoes",
    "tabletop",
)
# Real pictures with labels, in the same folders. They measure, and no run is trained on
# them by name.
REAL_PICTURES = ("nuclei",)
# Sources of the user's own images: the field of `DataConfig` that holds the path.
USER_SOURCES = {"file": "data_file", "folder": "image_dir"}
# All names that a run's `dataset` may have.
TRAINABLE = (*BUILDERS, *USER_SOURCES)


def require_dataset(dataset: str, names: Collection[str] = TRAINABLE) -> None:
    """Checks the name of a dataset, but not that of its configuration.

    Args:
      dataset: NAME or NAME/CONFIGURATION.
      names: that it may have; those that a run can be trained on if omitted.

    Raises:
      InputError: for another.
    """
    if dataset.partition("/")[0] not in names:
        raise InputError(f"is {dataset!r}; expected {one_of(names)}", field="dataset")
