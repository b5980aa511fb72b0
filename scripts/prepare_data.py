"""Prepares a dataset for training, from a download or from local files.

    python scripts/prepare_data.py --dataset=multi_mnist
    python scripts/prepare_data.py --dataset=multi_mnist --manual_dir=FOLDER

FOLDER holds the original files of MNIST or Omniglot, which scenes are composed of, for
example train-images-idx3-ubyte.gz, or those of the pictures of nuclei. With
--manual_dir, nothing is downloaded. This program is optional: other programs prepare a
missing dataset.
"""

from absl import flags

from air_tf import cli
from air_tf.config.checks import one_of
from air_tf.config.datasets import BUILDERS, REAL_PICTURES

_DATASETS = one_of((*BUILDERS, *REAL_PICTURES))
flags.DEFINE_string(
    "dataset",
    None,
    f"{_DATASETS}, optionally with a configuration, as in multi_mnist/0-3.",
)
cli.define_data_dir()
flags.adopt_module_key_flags(cli)
flags.DEFINE_string(
    "manual_dir",
    None,
    "Folder with the original files of MNIST, Omniglot or nuclei, instead of a "
    "download.",
)


def main(argv: list[str]) -> None:
    cli.expect_no_arguments(argv)
    cli.require("dataset", _DATASETS)
    # Imported late, so that --help and invalid flags don't wait for TensorFlow.
    from air_tf.data.sources import prepare

    builder = prepare(
        flags.FLAGS.dataset,
        data_dir=flags.FLAGS.data_dir,
        manual_dir=flags.FLAGS.manual_dir,
    )
    print(f"{builder.info.full_name} is in {builder.data_path}")


if __name__ == "__main__":
    cli.run(main)
