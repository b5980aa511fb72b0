"""Measures training on several seeds, or single parts by themselves.

    python scripts/benchmark.py --dataset=multi_mnist --output_dir=benchmarks/strict
    python scripts/benchmark.py --step
    python scripts/benchmark.py --serving --export_dir=exports/air
    python scripts/benchmark.py --edge --model_dir=runs/mnist

Trains from scratch with seeds 0, 1, ..., each in a process of its own, and
reports every one on test images. Interrupted, it resumes. --step times the
training step, --serving an exported model under load, --edge all that convert.py
writes. Run nothing else meanwhile.
"""

from absl import flags

from air_tf import InputError, cli

cli.define_run_flags()
cli.define_model_dir()
cli.define_data_dir()
flags.adopt_module_key_flags(cli)
flags.DEFINE_integer("seeds", 5, "How many seeds, from 0 on.", lower_bound=1)
flags.DEFINE_string(
    "output_dir", None, "Folder for runs and results.json. Needed to train."
)
flags.DEFINE_boolean("step", False, "Time the training step instead of training.")
flags.DEFINE_boolean("serving", False, "Load an exported model instead of training.")
flags.DEFINE_string("export_dir", None, "What export.py wrote, for --serving.")
flags.DEFINE_boolean("edge", False, "Time LiteRT formats instead of training.")
flags.mark_bool_flags_as_mutual_exclusive(["step", "serving", "edge"])


# Imports of TensorFlow are below, so that --help and bad flags need not wait for it.
def main(argv):
    cli.expect_no_arguments(argv)
    if flags.FLAGS.serving:
        _serving()
    elif flags.FLAGS.edge:
        _edge()
    else:
        _training()


def _serving():
    cli.require("export_dir", "a folder of export.py")
    from air_tf.deployment.serving_config import require_serving_api

    require_serving_api()
    from air_tf.deployment.serving_load import benchmark_serving, format_serving

    print(format_serving(benchmark_serving(flags.FLAGS.export_dir)))


def _edge():
    cli.require("model_dir", "the folder of a run")
    from air_tf.deployment.edge_speed import benchmark_edge, format_edge
    from air_tf.training.run_dir import RunDir

    run = RunDir(flags.FLAGS.model_dir)
    print(format_edge(benchmark_edge(run, data_dir=flags.FLAGS.data_dir)))


def _training():
    config = cli.run_config()
    if flags.FLAGS.seed is not None:
        raise InputError("seed is given; expected --seeds, how many")
    if not flags.FLAGS.step:
        cli.require("output_dir", "a folder for the runs and results.json")
    from air_tf.training import benchmark

    if flags.FLAGS.step:
        print(benchmark.format_step(benchmark.benchmark_step(config)))
        return
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
