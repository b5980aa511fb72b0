"""Says how many objects are in pictures, where, and what they look like.

    python scripts/predict.py --model_dir=RUN --output_dir=D picture.png ...

Writes, for each picture, a JSON file and the picture with the boxes drawn. A
picture that can't be read is named; the others are still processed.
"""

import sys

from absl import flags

from air_tf import cli

flags.DEFINE_string("model_dir", None, "Folder of a run of train.py.")
flags.DEFINE_string("output_dir", None, "Folder for the answers.")
flags.DEFINE_integer(
    "max_steps_per_image", None, "T, the most objects; that of training if omitted."
)
flags.DEFINE_boolean("overwrite", False, "Replace answers that exist.")


def main(paths):
    if not paths:
        raise cli.InputError("no picture is named; expected PNG or JPEG files")
    cli.require("model_dir", "the folder of a run")
    cli.require("output_dir", "a folder for the answers")
    cli.require_at_least("max_steps_per_image", 1)
    # Here, so that --help and bad flags need not wait for TensorFlow.
    from air_tf.evaluation.predict import predict_files
    from air_tf.training.run_dir import RunDir

    failures = predict_files(
        RunDir(flags.FLAGS.model_dir).load_model(),
        paths,
        flags.FLAGS.output_dir,
        max_steps=flags.FLAGS.max_steps_per_image,
        overwrite=flags.FLAGS.overwrite,
    )
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    cli.run(main)
