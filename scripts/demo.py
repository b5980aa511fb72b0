"""Makes a web page that runs a trained run's model in the browser.

    python scripts/demo.py --model_dir=RUN --output=air.html
    python scripts/demo.py --model_dir=RUN --output_dir=D

The first is one file to open from the disk or to send to somebody. The second is the
same page as files for a web server. The model is compared with the Keras model on
held-out images first. Needs the extra: pip install '.[edge]'
"""

from absl import flags

from air_tf import cli
from air_tf.errors import InputError
from air_tf.files import make_output_dir

cli.define_run_to_use()
cli.define_overwrite()
cli.define_data_dir()
flags.adopt_module_key_flags(cli)
flags.DEFINE_string("output", None, "The HTML file to write.")
flags.DEFINE_string("output_dir", None, "Folder for the files of a web server.")
flags.DEFINE_enum(
    "format",
    "dynamic",
    ["float32", "float16", "dynamic"],
    "Number format of the model. dynamic: 8-bit weights; smallest.",
)


def main(argv):
    cli.expect_no_arguments(argv)
    output, output_dir = flags.FLAGS.output, flags.FLAGS.output_dir
    if bool(output) == bool(output_dir):
        found = "both" if output else "neither"
        raise InputError(f"expected either `output` or `output_dir`; found {found}")
    cli.require_new_file("output")
    run = cli.run_to_use(in_2d=True)
    if output_dir:
        make_output_dir(output_dir, ["index.html"], overwrite=flags.FLAGS.overwrite)
    # Imported late, so that --help and invalid flags don't wait for TensorFlow.
    from air_tf.deployment.demo import make_demo, write_files, write_one_file

    demo = make_demo(
        run,
        format=flags.FLAGS.format,
        max_objects=flags.FLAGS.max_objects,
        proposals=flags.FLAGS.proposals,
        data_dir=flags.FLAGS.data_dir,
    )
    if output:
        write_one_file(demo, output)
        print(f"Wrote {output}")
    else:
        write_files(demo, output_dir, overwrite=flags.FLAGS.overwrite)
        print(f"Wrote {output_dir}/index.html and the files beside it")


if __name__ == "__main__":
    cli.run(main)
