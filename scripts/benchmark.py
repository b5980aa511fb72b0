"""Measures training on several seeds, or the training step by itself.

    python scripts/benchmark.py --dataset=multi_mnist --output_dir=benchmarks/strict
    python scripts/benchmark.py --step

Trains from scratch with seeds 0, 1, ..., each in a process of its own, and
reports every one on test images. Interrupted, it resumes. --step times the
training step. Run nothing else meanwhile.
"""

from absl import flags

from air_tf import InputError, cli

cli.define_run_flags()
cli.define_data_dir()
flags.adopt_module_key_flags(cli)
flags.DEFINE_integer("seeds", 5, "How many seeds, from 0 on.", lower_bound=1)
flags.DEFINE_string(
    "output_dir", None, "Folder for runs and results.json. Needed to train."
)
flags.DEFINE_boolean("step", False, "Time the training step instead of training.")


def main(argv):
    cli.expect_no_arguments(argv)
    config = cli.run_config()
    if flags.FLAGS.seed is not None:
        raise InputError("seed is given; expected --seeds, how many")
    # Here, so that --help and bad flags need not wait for TensorFlow.
    from air_tf.training import benchmark

    if flags.FLAGS.step:
        print(benchmark.format_step(benchmark.benchmark_step(config)))
        return
    cli.require("output_dir", "a folder for the runs and results.json")
    results = benchmark.benchmark_training(
        config,
        range(flags.FLAGS.seeds),
        flags.FLAGS.output_dir,
        data_dir=flags.FLAGS.data_dir,
    )
    print(benchmark.format_seeds(results))
    print(f"Results are in {flags.FLAGS.output_dir}/results.json")


if __name__ == "__main__":
    cli.run(main)
