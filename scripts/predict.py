"""Counts, locates and encodes the objects in pictures.

    python scripts/predict.py --model_dir=RUN --output_dir=D picture.png ...
    python scripts/predict.py --model_dir=RUN --output_dir=D folder/

With a run of pictures of any size (--dataset=folder), counts the objects of whole
pictures, and writes tables, label images and outlines; interrupted work goes on if the
program is run again.

With other runs, writes a JSON file for each picture, and the picture with the boxes
drawn; with --label_images also which pixels each object is seen in. For a run of 3D
scenes, also writes objects.csv, with a row for each object.

Without --output_dir, prints the JSON. A picture that can't be read is reported; the
others are still processed.
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
    "Also write labels/NAME.tif into --output_dir: 0 for the ground, k for object k. "
    "Runs of pictures of any size always do.",
)
cli.define_picture_flags()


def main(paths):
    if not paths:
        raise InputError("no picture is given; expected files, or folders of them")
    if flags.FLAGS.label_images:
        cli.require("output_dir", "a folder for label images")
    run = cli.run_to_use()
    # Imported late, so that --help doesn't wait for them.
    from air_tf.files import file_hash
    from air_tf.inference.predict import of_pictures, predict_files
    from air_tf.inference.predict_pictures import predict_pictures
    from air_tf.inference.printing import report_predictions
    from air_tf.inference.tabletop import kinds_of
    from air_tf.inference.whole import TOGETHER

    config = run.read_config()
    steps = config.prediction_steps(flags.FLAGS.max_objects)
    shape = config.model.image_shape

    @functools.cache
    def load():
        # TensorFlow is only imported when all else has been checked.
        from air_tf.model.tracing import one_core_an_operation

        if config.pictures is not None:
            one_core_an_operation()
        return run.load_model(flags.FLAGS.proposals)

    def infer(images):
        return load().infer(images, max_objects=steps, batch_size=TOGETHER)

    pictures = cli.given_pictures(config.pictures)
    if pictures is not None:
        predictions = predict_pictures(
            infer,
            pictures,
            shape[:2],
            paths,
            flags.FLAGS.output_dir,
            model={
                "model": file_hash(run.model_file),
                "max_objects": steps,
                "proposals": flags.FLAGS.proposals,
            },
            rois=flags.FLAGS.rois,
            overwrite=flags.FLAGS.overwrite,
        )
    else:
        predictions = predict_files(
            of_pictures(infer, shape, kinds_of(config.model)),
            paths,
            flags.FLAGS.output_dir,
            overwrite=flags.FLAGS.overwrite,
            label_images=flags.FLAGS.label_images,
        )
    load()  # here, as what is wrong with a model is wrong with no picture
    return 0 if report_predictions(predictions, cli.in_flags) else 1


if __name__ == "__main__":
    cli.run(main, resumes=True)
