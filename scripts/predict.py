"""Counts, locates and encodes the objects in pictures.

    python scripts/predict.py --model_dir=RUN --output_dir=D picture.png ...

Writes a JSON file for each picture, and the picture with the boxes drawn; with
--label_images also which pixels each object is seen in. Without --output_dir, prints
the JSON. For a run of 3D scenes, also writes objects.csv, with a row for each object.
A picture that can't be read is reported; the others are still processed.
"""

import functools

from absl import flags

from air_tf import InputError, cli

cli.define_run_to_use()
cli.define_answers()
flags.adopt_module_key_flags(cli)
flags.DEFINE_boolean(
    "label_images",
    False,
    "Also write labels/NAME.tif into --output_dir: 0 for the ground, k for object k.",
)


def main(paths):
    if not paths:
        raise InputError("no picture is given; expected PNG or JPEG files")
    if flags.FLAGS.label_images:
        cli.require("output_dir", "a folder for label images")
    cli.check_run_to_use()
    # Imported late, so that --help and invalid flags don't wait for TensorFlow.
    from air_tf.inference.predict import of_pictures, predict_files
    from air_tf.inference.printing import report_predictions
    from air_tf.inference.tabletop import kinds_of
    from air_tf.runs import RunDir

    air = RunDir(flags.FLAGS.model_dir).load_model(flags.FLAGS.proposals)
    infer = functools.partial(air.infer, max_objects=flags.FLAGS.max_objects)
    predictions = predict_files(
        of_pictures(infer, air.config.image_shape, kinds_of(air.config)),
        paths,
        flags.FLAGS.output_dir,
        overwrite=flags.FLAGS.overwrite,
        label_images=flags.FLAGS.label_images,
    )
    return 0 if report_predictions(predictions, cli.in_flags) else 1


if __name__ == "__main__":
    cli.run(main)
