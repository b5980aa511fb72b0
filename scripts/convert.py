"""Converts a trained run to LiteRT (TFLite), for phones and small boards.

    python scripts/convert.py --model_dir=RUN --output=air.tflite --format=dynamic

Compares the result with the Keras model on held-out images. Needs the extra:
pip install '.[edge]'
"""

from absl import flags

from air_tf import cli

cli.define_run_to_use()
cli.define_overwrite()
cli.define_data_dir()
flags.adopt_module_key_flags(cli)
flags.DEFINE_string("output", None, "The .tflite file to write.")
flags.DEFINE_enum(
    "format",
    "float32",
    ["float32", "float16", "dynamic", "int8"],
    "Number format. float16: 16-bit weights. dynamic: 8-bit weights; smallest and "
    "fastest. int8: 8-bit weights and activations of matrix products, and of "
    "convolutions for 3D scenes; for accelerators that require them.",
)
flags.DEFINE_integer(
    "batch_size",
    1,
    "Number of images in a call; 0 for any number.",
    lower_bound=0,
    upper_bound=1024,
)
flags.DEFINE_integer(
    "num_calibration_images",
    None,
    "Only for --format=int8. Number of training images from which it takes the ranges "
    "of activations. Default: 500.",
)
flags.DEFINE_boolean(
    "allow_disagreement",
    False,
    "Write the file even if its counts differ from those of the Keras model for more "
    "than 1 % of the held-out images.",
)


def main(argv):
    cli.expect_no_arguments(argv)
    cli.require("output", "a .tflite file to write")
    cli.require_new_file("output")
    run = cli.run_to_use()
    # Imported late, so that --help and invalid flags don't wait for TensorFlow.
    from air_tf.deployment.convert import convert

    agreement = convert(
        run,
        flags.FLAGS.output,
        format=flags.FLAGS.format,
        batch_size=flags.FLAGS.batch_size,
        max_objects=flags.FLAGS.max_objects,
        proposals=flags.FLAGS.proposals,
        num_calibration_images=flags.FLAGS.num_calibration_images,
        data_dir=flags.FLAGS.data_dir,
        allow_disagreement=flags.FLAGS.allow_disagreement,
    )
    print(
        f"Compared with Keras on {agreement.num_images} held-out images: counts agree "
        f"on {agreement.count_agreement:.2%}, mean IoU of boxes "
        f"{agreement.mean_iou:.4f}, {agreement.of_objects()}"
    )
    print(f"Wrote {flags.FLAGS.output}")


if __name__ == "__main__":
    cli.run(main)
