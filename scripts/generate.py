r"""Generates scenes, traverses and interpolates codes, and edits scenes.

    python scripts/generate.py --model_dir=RUN --output_dir=D
    python scripts/generate.py --model_dir=RUN --output_dir=D --num_scenes=1000 \
        --num_objects=2 --fitted_where

Writes scenes.npz and scenes.png, generated from the prior with p(n) as fitted to the
training images. Also writes traversals.png, interpolation.png, editing.png, steps.png
and attend.gif, which show variations of objects in the run's test images, and how they
are found.
"""

from absl import flags

from air_tf import cli
from air_tf.files import require_new_files
from air_tf.inference.generated_files import FILES

cli.define_model_dir()
cli.define_overwrite()
cli.define_data_dir()
flags.adopt_module_key_flags(cli)
flags.DEFINE_string("output_dir", None, "Folder for the results.")
flags.DEFINE_integer(
    "num_scenes", 64, "Number of scenes to generate.", lower_bound=1, upper_bound=5_000
)
flags.DEFINE_integer(
    "num_objects",
    None,
    "Number of objects in each scene. Default: sampled from p(n).",
    lower_bound=0,
)
flags.DEFINE_boolean(
    "fitted_where",
    False,
    "Sample z_where from p(z_where) as fitted to the training images.",
)
flags.DEFINE_integer(
    "seed", 0, "Seed of the generated scenes.", lower_bound=0, upper_bound=2**31 - 1
)


def main(argv):
    cli.expect_no_arguments(argv)
    cli.require("output_dir", "a folder for the results")
    run = cli.trained_run(in_2d=True)
    require_new_files(flags.FLAGS.output_dir, FILES, overwrite=flags.FLAGS.overwrite)
    # Imported late, so that --help and invalid flags don't wait for TensorFlow.
    from air_tf.inference.generate import generate_run

    made = generate_run(
        run,
        flags.FLAGS.output_dir,
        num_scenes=flags.FLAGS.num_scenes,
        num_objects=flags.FLAGS.num_objects,
        fitted_where=flags.FLAGS.fitted_where,
        seed=flags.FLAGS.seed,
        overwrite=flags.FLAGS.overwrite,
        data_dir=flags.FLAGS.data_dir,
    )
    for name, what in made.items():
        print(f"{flags.FLAGS.output_dir}/{name}: {what}")


if __name__ == "__main__":
    cli.run(main)
