"""Says how many objects are in pictures, where, and what they look like.

    python scripts/predict.py --model_dir=RUN --output_dir=D picture.png ...

Writes, for each picture, a JSON file and the picture with the boxes drawn; prints
the JSON if --output_dir is omitted. A picture that can't be read is named; the
others are still processed.
"""

import sys

from absl import flags

from air_tf import InputError, cli

cli.define_run_to_use()
cli.define_answers()
flags.adopt_module_key_flags(cli)


def main(paths):
    if not paths:
        raise InputError("no picture is named; expected PNG or JPEG files")
    cli.check_run_to_use()
    # Here, so that --help and bad flags need not wait for TensorFlow.
    from air_tf.data.user_images import fit_picture
    from air_tf.inference.predict import predict_files
    from air_tf.runs import RunDir

    air = RunDir(flags.FLAGS.model_dir).load_model()

    def infer(path, picture):
        image = fit_picture(picture, air.config.image_shape)
        return air.infer(image[None], max_objects=flags.FLAGS.max_objects)

    failures = predict_files(
        infer, paths, flags.FLAGS.output_dir, overwrite=flags.FLAGS.overwrite
    )
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    cli.run(main)
