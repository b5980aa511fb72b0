r"""Compares a run of 3D scenes with optimisation and with supervised learning.

    python scripts/inverse_graphics.py --model_dir=RUN --output_dir=benchmarks/inverse

The run's networks infer the objects of a scene at once. The alternatives are to search
for each image which objects the renderer has to draw, from several random starts, and
to train the same network with labels. Times are measured in this process: nothing else
should run on the machine. Run the same command again to resume.
"""

from absl import flags

from air_tf import cli, run_flags
from studies.inverse_graphics.config import InverseGraphicsConfig

cli.define_model_dir()
run_flags.define_setting_flags(InverseGraphicsConfig)
cli.define_data_dir()
flags.adopt_module_key_flags(cli)
flags.adopt_module_key_flags(run_flags)
flags.DEFINE_string("output_dir", None, "Folder for results.")


def main(argv: list[str]) -> None:
    cli.expect_no_arguments(argv)
    settings = InverseGraphicsConfig(**run_flags.given_settings(InverseGraphicsConfig))
    cli.require("output_dir", "a folder for the results")
    cli.trained_run()  # refuses what is none
    # Imported late, so that --help and invalid flags don't wait for TensorFlow.
    from studies.inverse_graphics import compare, table

    result = compare.compare_inference(
        flags.FLAGS.model_dir,
        flags.FLAGS.output_dir,
        settings=settings,
        data_dir=flags.FLAGS.data_dir,
    )
    print(table.format_inverse_graphics(result))
    print(f"Tables and a picture are in {flags.FLAGS.output_dir}")


if __name__ == "__main__":
    cli.run(main, resumes=True)
