"""Prepares a dataset for training, from a download or from local files.

    python scripts/prepare_data.py --dataset=multi_mnist
    python scripts/prepare_data.py --dataset=multi_mnist --manual_dir=FOLDER

FOLDER holds the original files of MNIST or Omniglot, which scenes are composed of, for
example train-images-idx3-ubyte.gz, or those of the pictures of nuclei. With
--manual_dir, nothing is downloaded. This program is optional: other programs prepare a
missing dataset.

With --beam_runner, Apache Beam composes the scenes, with any number of workers; flags
that are not described here go to Beam. Needs the extra: pip install '.[scale]'
"""

from absl import flags

from air_tf import cli
from air_tf.config.checks import one_of
from air_tf.config.datasets import BUILDERS, REAL_PICTURES
from air_tf.extras import require_extra

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
flags.DEFINE_string(
    "beam_runner",
    None,
    "What executes a pipeline of Beam that composes the scenes, such as DirectRunner. "
    "Default: this process composes them without Beam.",
)


def main(for_beam: list[str]) -> None:
    cli.require("dataset", _DATASETS)
    if flags.FLAGS.beam_runner is None:
        cli.expect_no_arguments(for_beam)
        options = None
    else:
        require_extra("scale")
        from air_tf.deployment.beam.options import pipeline_options

        options = pipeline_options(
            flags.FLAGS.beam_runner, for_beam, field="beam_runner"
        )
    # Imported late, so that --help and invalid flags don't wait for TensorFlow.
    from air_tf.data.sources import prepare

    builder = prepare(
        flags.FLAGS.dataset,
        data_dir=flags.FLAGS.data_dir,
        manual_dir=flags.FLAGS.manual_dir,
        beam_options=options,
    )
    print(f"{builder.info.full_name} is in {builder.data_path}")


if __name__ == "__main__":
    cli.run(main, keeps_unknown=True)
