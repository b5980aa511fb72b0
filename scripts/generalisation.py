r"""Measures the accuracy for counts that do not occur in training.

    python scripts/generalisation.py --preset=mnist --seeds=5 \
        --output_dir=benchmarks/generalisation

Trains on 0, 1 and 2 objects and tests on 3, 4 and 5; and trains on 0, 1 and 3 objects
and tests on 2. Both forms of --inference and seeds 0, 1, ... are trained. The recurrent
form needs more training steps: their number is that of --preset=recurrent, unless
--steps or the preset sets it. Run the same command again to resume.
"""

from absl import flags

from air_tf import InputError, cli, run_flags
from air_tf.config import PRESETS, RunConfig, TrainingConfig

run_flags.define_run_flags()
cli.define_data_dir()
flags.adopt_module_key_flags(cli)
flags.adopt_module_key_flags(run_flags)
flags.DEFINE_integer("seeds", 5, "Number of seeds to train: 0, 1, ...", lower_bound=1)
flags.DEFINE_string("output_dir", None, "Folder for runs and results.")


def main(argv: list[str]) -> None:
    cli.expect_no_arguments(argv)
    config = run_flags.run_config()
    if flags.FLAGS.seed is not None:
        raise InputError("is given; expected `seeds`, a number", field="seed")
    if flags.FLAGS.inference is not None:
        raise InputError(
            "is given; expected nothing, because both forms are trained",
            field="inference",
        )
    cli.require("output_dir", "a folder for the runs and results")
    # Imported late, so that --help and invalid flags don't wait for TensorFlow.
    from studies import generalisation

    result = generalisation.measure_generalisation(
        config,
        range(flags.FLAGS.seeds),
        flags.FLAGS.output_dir,
        recurrent_steps=_recurrent_steps(config),
        data_dir=flags.FLAGS.data_dir,
    )
    print(generalisation.format_generalisation(result))
    print(f"Tables and pictures are in {flags.FLAGS.output_dir}")


def _recurrent_steps(config: RunConfig) -> int | None:
    """Steps of --preset=recurrent, or None if a flag or a chosen preset sets them."""
    chosen = config.training.steps != TrainingConfig().steps
    if flags.FLAGS.steps is not None or (flags.FLAGS.preset is not None and chosen):
        return None
    return PRESETS["recurrent"].config.training.steps


if __name__ == "__main__":
    cli.run(main, resumes=True)
