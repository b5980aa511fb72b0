"""Trains with many seeds or with every objective, or times parts of the program.

    python scripts/benchmark.py --reliability --seeds=20 --output_dir=D (--objectives)
    python scripts/benchmark.py --step    (or --scaling, --workers)
    python scripts/benchmark.py --serving --export_dir=exports/air
    python scripts/benchmark.py --edge --model_dir=runs/mnist    (or --explanations)

--reliability trains with seeds 0, 1, ...; --objectives does so with every objective,
and measures gradient variances. Both resume. Run nothing else meanwhile, for the times.
"""

import importlib
from typing import Any

from absl import flags

from air_tf import InputError, cli, run_flags

_MODES = {
    "reliability": "Train with many seeds.",
    "objectives": "Train with every objective.",
    "step": "Time the training step.",
    "scaling": "Time the training step on larger canvases and with other T.",
    "workers": "Compare two workers with one.",
    "serving": "Load-test an exported model.",
    "edge": "Time every LiteRT format of a run.",
    "explanations": "Measure what explaining images again changes and costs.",
}

run_flags.define_run_flags()
cli.define_model_dir()
cli.define_data_dir()
flags.adopt_module_key_flags(cli)
flags.adopt_module_key_flags(run_flags)
for mode, text in _MODES.items():
    flags.DEFINE_boolean(mode, False, text)
flags.DEFINE_integer("seeds", 5, "Number of seeds to train, from 0 on.", lower_bound=1)
flags.DEFINE_float("success_accuracy", 0.99, "What a seed must reach.", 0.0, 1.0)
flags.DEFINE_string("output_dir", None, "Folder for runs and results of training.")
flags.DEFINE_string("export_dir", None, "Folder that export.py wrote, for --serving.")


# TensorFlow is imported below, so that --help and bad flags do not wait for it.
def main(argv: list[str]) -> None:
    cli.expect_no_arguments(argv)
    chosen = [mode for mode in _MODES if flags.FLAGS[mode].value]
    if len(chosen) != 1:
        modes, found = "`, `".join(_MODES), " and ".join(chosen) or "none"
        raise InputError(f"expected one of `{modes}`; found {found}")
    mode = chosen[0]
    if mode == "serving":
        cli.require("export_dir", "a folder of export.py")
        from air_tf.deployment.serving_config import require_serving_api

        require_serving_api()
        _print("serving_load", mode, flags.FLAGS.export_dir)
    elif mode in ("edge", "explanations"):
        cli.require("model_dir", "the folder of a run")
        from air_tf.runs import RunDir

        names = ("dataset", "max_objects") if mode == "explanations" else ()
        options = {name: flags.FLAGS[name].value for name in (*names, "data_dir")}
        module = {"edge": "edge_speed"}.get(mode, mode)
        _print(module, mode, RunDir(flags.FLAGS.model_dir), **options)
    elif mode in ("reliability", "objectives"):
        _train(mode)
    else:
        module = {"scaling": "step_scaling"}.get(mode, f"{mode}_speed")
        _print(module, mode, run_flags.run_config())


def _print(module: str, name: str, *args: Any, **kwargs: Any) -> None:
    found = importlib.import_module(f"benchmarks.{module}")
    result = getattr(found, f"benchmark_{name}")(*args, **kwargs)
    print(getattr(found, f"format_{name}")(result))


def _train(mode: str) -> None:
    config = run_flags.run_config()
    if flags.FLAGS.seed is not None:
        raise InputError("is given; expected `seeds`, their number", field="seed")
    if mode == "objectives" and flags.FLAGS.objective is not None:
        raise InputError("is given; expected nothing, to train all", field="objective")
    cli.require("output_dir", "a folder for the runs and results")
    given = (config, range(flags.FLAGS.seeds), flags.FLAGS.output_dir)
    options = {"data_dir": flags.FLAGS.data_dir}
    if mode == "objectives":
        from studies import objectives

        print(objectives.format_objectives(objectives.compare(*given, **options)))
    else:
        from studies import reliability

        options["success"] = flags.FLAGS.success_accuracy
        print(reliability.format_reliability(reliability.measure(*given, **options)))
    print(f"Tables and pictures are in {flags.FLAGS.output_dir}")


if __name__ == "__main__":
    cli.run(main, resumes=True)
