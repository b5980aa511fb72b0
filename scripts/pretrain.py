"""Makes the trained models that come with air_tf.

    python scripts/pretrain.py --output_dir=air_tf/pretrained

Trains with each preset, rounds the weights so that a model takes less than 1 MB, and
evaluates what is left on held-out images. Run the same command again to resume.
"""

from absl import flags

from air_tf import InputError, cli
from air_tf.config.checks import one_of
from air_tf.pretrained import NAMES

cli.define_data_dir()
flags.adopt_module_key_flags(cli)
flags.DEFINE_list("presets", list(NAMES), "What to train.")
flags.DEFINE_string(
    "output_dir", None, "Folder that gets a folder for each model, or a new content."
)
flags.DEFINE_string("runs_dir", "runs/pretrained", "Folder for the runs.")


def main(argv: list[str]) -> None:
    cli.expect_no_arguments(argv)
    cli.require("output_dir", "a folder for the models")
    for name in flags.FLAGS.presets:
        if name not in NAMES:
            raise InputError(f"is {name!r}; expected {one_of(NAMES)}", field="presets")
    # Imported late, so that --help and invalid flags don't wait for TensorFlow.
    from air_tf.evaluation.table import format_table
    from studies.pretrain import pretrain

    for name in flags.FLAGS.presets:
        evaluation = pretrain(
            name,
            flags.FLAGS.output_dir,
            flags.FLAGS.runs_dir,
            data_dir=flags.FLAGS.data_dir,
        )
        print(f"pretrained:{name} ({evaluation.dataset}, {evaluation.split}):")
        print(format_table(evaluation))


if __name__ == "__main__":
    cli.run(main, resumes=True)
