"""Converts a trained run to LiteRT (TFLite), for phones and small boards.

    python scripts/convert.py --model_dir=RUN --output=air.tflite --format=dynamic

Compares the result with the Keras model on test images. Needs the extra:
pip install '.[edge]'
"""

from absl import flags

from air_tf import cli

cli.define_run_to_use()
cli.define_overwrite()
cli.define_data_dir()
flags.adopt_module_key_flags(cli)
flags.DEFINE_string("output", None, "The .tflite file.")
flags.DEFINE_enum(
    "format",
    "float32",
    ["float32", "float16", "dynamic", "int8"],
    "How weights are kept. dynamic: 8 bits, the smallest and fastest; int8: also "
    "what is computed with them, for processors that know nothing else.",
)
flags.DEFINE_integer(
    "batch_size",
    1,
    "How many images at once; 0 for any number.",
    lower_bound=0,
    upper_bound=1024,
)
flags.DEFINE_boolean(
    "allow_disagreement",
    False,
    "Write the file even if its counts agree with the Keras model's on less than "
    "99 % of test images.",
)


def main(argv):
    cli.expect_no_arguments(argv)
    cli.check_run_to_use()
    cli.require("output", "a .tflite file to write")
    cli.require_new_file("output")
    # Here, so that --help and bad flags need not wait for TensorFlow.
    from air_tf.deployment.convert import convert
    from air_tf.runs import RunDir

    agreement = convert(
        RunDir(flags.FLAGS.model_dir),
        flags.FLAGS.output,
        format=flags.FLAGS.format,
        batch_size=flags.FLAGS.batch_size,
        max_objects=flags.FLAGS.max_objects,
        data_dir=flags.FLAGS.data_dir,
        allow_disagreement=flags.FLAGS.allow_disagreement,
    )
    print(
        f"Against Keras, on {agreement.num_images} test images: counts agree on "
        f"{agreement.count_agreement:.2%}, mean IoU of boxes {agreement.mean_iou:.4f}, "
        f"mean error of codes {agreement.code_error:.2g} (their standard deviation is "
        f"{agreement.code_scale:.2g})"
    )
    print(f"The model is in {flags.FLAGS.output}")


if __name__ == "__main__":
    cli.run(main)
