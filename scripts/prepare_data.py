"""Prepares a dataset ahead of training, with or without a network.

    python scripts/prepare_data.py --dataset=multi_mnist
    python scripts/prepare_data.py --dataset=multi_mnist --manual_dir=FOLDER

FOLDER holds the original files of what the scenes are made of, as MNIST's
train-images-idx3-ubyte.gz; then nothing is downloaded. Training prepares what is
missing by itself.
"""

from absl import flags

from air_tf import cli

flags.DEFINE_string("dataset", None, "As for train.py.")
cli.define_data_dir()
flags.adopt_module_key_flags(cli)
flags.DEFINE_string(
    "manual_dir", None, "Folder with original files, instead of a download."
)


def main(argv):
    cli.expect_no_arguments(argv)
    cli.require("dataset", "multi_digits, multi_mnist, multi_omniglot or sprites")
    # Here, so that --help and bad flags need not wait for TensorFlow.
    from air_tf.data.sources import prepare

    builder = prepare(
        flags.FLAGS.dataset,
        data_dir=flags.FLAGS.data_dir,
        manual_dir=flags.FLAGS.manual_dir,
    )
    print(f"{builder.info.full_name} is in {builder.data_path}")


if __name__ == "__main__":
    cli.run(main)
