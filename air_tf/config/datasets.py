"""Names of the datasets that a run can be trained on."""

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
