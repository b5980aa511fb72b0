"""Trains with many seeds or all objectives, or times parts of the program.

    python scripts/benchmark.py --reliability --seeds=20 --output_dir=D (--objectives)
    python scripts/benchmark.py --step    (or --scaling, --workers)
    python scripts/benchmark.py --session --export_dir=exports/air  (--serving, --beam)
    python scripts/benchmark.py --edge --model_dir=RUN  (or --explanations, --sizes)
Training resumes. Run nothing else meanwhile, for the times.
"""

import importlib

from absl import flags

from air_tf import InputError, cli, run_flags
from air_tf.deployment.versions import find_version
from air_tf.extras import require_extra

_MODES = {
    "reliability": "Train with many seeds.",
    "objectives": "Train with every objective, and measure gradient variances.",
    "step": "Time the training step.",
    "scaling": "Time the training step on larger canvases and with other T.",
    "workers": "Compare two workers with one.",
    "serving": "Load-test an exported model.",
    "session": "Time an exported model without a server, by the size of calls.",
    "beam": "Compare a pipeline of Beam with an exported model alone.",
    "edge": "Time every LiteRT format of a run.",
    "explanations": "Measure what explaining images again changes and costs.",
    "sizes": "Measure counts of digits of other sizes, and of drawn ones.",
}
# Those that are not called benchmarks.MODE_speed and benchmark_MODE.
_MODULES = {
    "reliability": "studies.reliability",
    "objectives": "studies.objectives",
    "scaling": "benchmarks.step_scaling",
    "serving": "benchmarks.serving_load",
    "explanations": "benchmarks.explanations",
    "sizes": "benchmarks.sizes",
}
_FUNCTIONS = {"reliability": "measure", "objectives": "compare"}
run_flags.define_run_flags()
cli.define_model_dir()
cli.define_data_dir()
for module in (cli, run_flags):
    flags.adopt_module_key_flags(module)
for mode, text in _MODES.items():
    flags.DEFINE_boolean(mode, False, text)
flags.DEFINE_integer("seeds", 5, "Number of seeds to train, from 0 on.", lower_bound=1)
flags.DEFINE_float("success_accuracy", 0.99, "What a seed must reach.", 0.0, 1.0)
flags.DEFINE_string("output_dir", None, "Folder for runs and results of training.")
flags.DEFINE_string("export_dir", None, "Folder that export.py wrote.")
flags.DEFINE_integer("num_images", 10_000, "Images for --beam.", lower_bound=1)


# TensorFlow is imported below, so that --help and bad flags do not wait for it.
def main(argv: list[str]) -> None:
    cli.expect_no_arguments(argv)
    mode, *others = [mode for mode in _MODES if flags.FLAGS[mode].value] or ["none"]
    if others or mode == "none":
        modes, found = "`, `".join(_MODES), " and ".join((mode, *others))
        raise InputError(f"expected one of `{modes}`; found {found}")
    if mode in ("serving", "session", "beam"):
        cli.require("export_dir", "a folder of export.py")
        find_version(flags.FLAGS.export_dir)  # refuses what is no export
        require_extra("scale" if mode == "beam" else "serving")
        numbers = [flags.FLAGS.num_images] if mode == "beam" else []
        _print(mode, flags.FLAGS.export_dir, *numbers)
    elif mode in ("edge", "explanations", "sizes"):
        run = cli.trained_run()
        names = ("dataset", "max_objects") if mode == "explanations" else ()
        options = {name: flags.FLAGS[name].value for name in (*names, "data_dir")}
        _print(mode, run, **options)
    elif mode in ("reliability", "objectives"):
        _train(mode)
    else:
        _print(mode, run_flags.run_config())


def _print(mode: str, *args: object, **kwargs: object) -> None:
    module = importlib.import_module(_MODULES.get(mode, f"benchmarks.{mode}_speed"))
    measure = getattr(module, _FUNCTIONS.get(mode, f"benchmark_{mode}"))
    print(getattr(module, f"format_{mode}")(measure(*args, **kwargs)))


def _train(mode: str) -> None:
    config = run_flags.run_config()
    if flags.FLAGS.seed is not None:
        raise InputError("is given; expected `seeds`, their number", field="seed")
    if mode == "objectives" and flags.FLAGS.objective is not None:
        raise InputError("is given; expected nothing, to train all", field="objective")
    cli.require("output_dir", "a folder for the runs and results")
    options = {"data_dir": flags.FLAGS.data_dir}
    if mode == "reliability":
        options["success"] = flags.FLAGS.success_accuracy
    _print(mode, config, range(flags.FLAGS.seeds), flags.FLAGS.output_dir, **options)
    print(f"Tables and pictures are in {flags.FLAGS.output_dir}")


if __name__ == "__main__":
    cli.run(main, resumes=True)
