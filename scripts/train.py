"""Trains a model that counts, locates and encodes objects, without labels.

    python scripts/train.py                                # embedded digits
    python scripts/train.py --dataset=multi_mnist
    python scripts/train.py --dataset=file --data_file=pictures.npz

Writes the model, figures on held-out images and pictures to --model_dir. Run the same
command again to resume an interrupted training.
"""

from absl import flags

from air_tf import cli, run_flags
from air_tf.config.cluster import cluster_of
from air_tf.pretrained import refuse_pretrained

run_flags.define_run_flags()
cli.define_data_dir()
flags.adopt_module_key_flags(cli)
flags.adopt_module_key_flags(run_flags)
flags.DEFINE_string(
    "model_dir",
    None,
    "Folder of the run. Default: runs/DATASET-PRESET-SEED.",
)
flags.DEFINE_string(
    "distribute",
    "auto",
    "Which devices share every training step: none, this one alone; mirrored, all GPUs "
    "of this machine; multi_worker, all devices of the workers that TF_CONFIG names; "
    "auto, multi_worker if TF_CONFIG names workers, else mirrored with several GPUs.",
)


def main(argv):
    cli.expect_no_arguments(argv)
    config = run_flags.run_config()
    cluster = cluster_of(flags.FLAGS.distribute)  # refuses what can't be
    model_dir = flags.FLAGS.model_dir or run_flags.default_model_dir(config)
    refuse_pretrained(model_dir)
    # Imported late, so that --help and invalid flags don't wait for TensorFlow.
    from air_tf.evaluation.table import format_table
    from air_tf.training.train import train

    evaluation = train(
        config,
        model_dir,
        data_dir=flags.FLAGS.data_dir,
        distribute=flags.FLAGS.distribute,
    )
    print(f"\nFigures on held-out images ({evaluation.dataset}, {evaluation.split}):")
    print(format_table(evaluation))
    for warning in evaluation.warnings:
        print(f"WARNING: {cli.in_flags(warning)}")
    if cluster is None or cluster.is_chief:  # others have written nothing
        print(f"\nModel, figures and pictures are in {model_dir}")


if __name__ == "__main__":
    cli.run(main, resumes=True)
