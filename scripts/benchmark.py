"""Measures training on many seeds, objectives, or single parts by themselves.

    python scripts/benchmark.py --reliability --dataset=multi_mnist --seeds=20 \
        --output_dir=benchmarks/strict
    python scripts/benchmark.py --objectives --output_dir=benchmarks/objectives
    python scripts/benchmark.py --step    (or --scaling)
    python scripts/benchmark.py --serving --export_dir=exports/air
    python scripts/benchmark.py --edge --model_dir=runs/mnist

--reliability trains with seeds 0, 1, ..., each in a process of its own, and reports
every one on test images; --objectives does so with every objective, and measures how
much their gradients vary. Interrupted, they resume. Run nothing else meanwhile.
"""

import importlib

from absl import flags

from air_tf import InputError, cli

_MODES = {
    "reliability": "Train with many seeds.",
    "objectives": "Train with every objective.",
    "step": "Time the training step.",
    "scaling": "Time it on larger canvases and with more attend steps.",
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
    if chosen[0] == "serving":
        cli.require("export_dir", "a folder of export.py")
        from air_tf.deployment.serving_config import require_serving_api

        require_serving_api()
        _print("serving_load", "serving", flags.FLAGS.export_dir)
    elif chosen[0] == "edge":
        cli.require("model_dir", "the folder of a run")
        from air_tf.runs import RunDir

        run, data_dir = RunDir(flags.FLAGS.model_dir), flags.FLAGS.data_dir
        _print("edge_speed", "edge", run, data_dir=data_dir)
    elif chosen[0] == "step":
        _print("step_speed", "step", cli.run_config())
    elif chosen[0] == "scaling":
        _print("step_scaling", "scaling", cli.run_config())
    else:
        _training()


def _print(room, name, *args, **kwargs):
    found = importlib.import_module(f"benchmarks.{room}")
    result = getattr(found, f"benchmark_{name}")(*args, **kwargs)
    print(getattr(found, f"format_{name}")(result))


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
        from studies import objectives as c

        print(c.format_objectives(c.compare_objectives(*given, data_dir=data_dir)))
    else:
        from studies import reliability as r

        success = flags.FLAGS.success_accuracy
        result = r.measure_reliability(*given, success=success, data_dir=data_dir)
        print(r.format_reliability(result))
    print(f"Tables and pictures are in {flags.FLAGS.output_dir}")


if __name__ == "__main__":
    cli.run(main, resumes=True)
