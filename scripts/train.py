"""Learns to count, locate and encode objects without labels.

    python scripts/train.py                                # embedded digits
    python scripts/train.py --dataset=multi_mnist
    python scripts/train.py --dataset=file --data_file=pictures.npz

Writes a model, held-out figures and pictures into --model_dir. Run again with
the same flags, an interrupted training resumes.
"""

from absl import flags

from air_tf import cli

cli.define_run_flags()
cli.define_data_dir()
flags.adopt_module_key_flags(cli)
flags.DEFINE_string(
    "model_dir",
    None,
    "Folder of the run. Default: runs/DATASET-PRESET-SEED.",
)


def main(argv):
    cli.expect_no_arguments(argv)
    config = cli.run_config()
    # Here, so that --help and bad flags need not wait for TensorFlow.
    from air_tf.evaluation.table import format_table
    from air_tf.training.train import train

    model_dir = flags.FLAGS.model_dir or cli.default_model_dir(config)
    result = train(config, model_dir, data_dir=flags.FLAGS.data_dir)
    print(f"\nOn held-out images ({result['dataset']}, {result['split']}):")
    print(format_table(result))
    for warning in result["warnings"]:
        print(f"WARNING: {warning}")
    print(f"\nModel, figures and pictures are in {model_dir}")


if __name__ == "__main__":
    cli.run(main, resumes=True)
