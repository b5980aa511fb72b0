"""Measures training on many seeds, objectives, or single parts by themselves.

    python scripts/benchmark.py --reliability --dataset=multi_mnist --seeds=20 \
        --output_dir=benchmarks/strict
    python scripts/benchmark.py --objectives --output_dir=benchmarks/objectives
    python scripts/benchmark.py --step
    python scripts/benchmark.py --serving --export_dir=exports/air
    python scripts/benchmark.py --edge --model_dir=runs/mnist

--reliability trains with seeds 0, 1, ..., each in a process of its own, and reports
every one on test images; --objectives does so with every objective, and measures how
much their gradients vary. Interrupted, they resume. Run nothing else meanwhile.
"""

from absl import flags

from air_tf import InputError, cli

_MODES = {
    "reliability": "Train with many seeds.",
    "objectives": "Train with every objective.",
    "step": "Time the training step.",
    "serving": "Load an exported model.",
    "edge": "Time LiteRT formats.",
}

cli.define_run_flags()
cli.define_model_dir()
cli.define_data_dir()
flags.adopt_module_key_flags(cli)
for mode, text in _MODES.items():
    flags.DEFINE_boolean(mode, False, text)
flags.DEFINE_integer("seeds", 5, "How many seeds to train, from 0 on.", lower_bound=1)
flags.DEFINE_float(
    "success_accuracy", 0.99, "For --reliability: what a seed must reach.", 0.0, 1.0
)
flags.DEFINE_string("output_dir", None, "Folder for runs and results of training.")
flags.DEFINE_string("export_dir", None, "What export.py wrote, for --serving.")


# Imports of TensorFlow are below, so that --help and bad flags need not wait for it.
def main(argv):
    cli.expect_no_arguments(argv)
    chosen = [mode for mode in _MODES if flags.FLAGS[mode].value]
    if len(chosen) != 1:
        found = " and ".join(chosen) or "none"
        raise InputError(f"expected one of --{', --'.join(_MODES)}; found {found}")
    {"serving": _serving, "edge": _edge, "step": _step}.get(chosen[0], _training)()


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


def _step():
    config = cli.run_config()
    from air_tf.training.step_speed import benchmark_step, format_step

    print(format_step(benchmark_step(config)))


def _training():
    config = cli.run_config()
    if flags.FLAGS.seed is not None:
        raise InputError("seed is given; expected --seeds, how many")
    cli.require("output_dir", "a folder for the runs and results")
    given = (config, range(flags.FLAGS.seeds), flags.FLAGS.output_dir)
    data_dir = flags.FLAGS.data_dir
    if flags.FLAGS.objectives:
        if flags.FLAGS.objective is not None:
            raise InputError("objective is given; expected none, all are trained")
        from air_tf.training import compare_objectives as c

        print(c.format_objectives(c.compare_objectives(*given, data_dir=data_dir)))
    else:
        from air_tf.training import reliability as r

        success = flags.FLAGS.success_accuracy
        result = r.measure_reliability(*given, success=success, data_dir=data_dir)
        print(r.format_reliability(result))
    print(f"Tables and pictures are in {flags.FLAGS.output_dir}")


if __name__ == "__main__":
    cli.run(main, resumes=True)
