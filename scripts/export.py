"""Exports a trained run as a SavedModel for TF Serving.

    python scripts/export.py --model_dir=RUN --export_dir=exports/air

Writes EXPORT_DIR/VERSION and, where they are missing, TF Serving's settings and a
model card beside it. Needs the extra: pip install '.[serving]'
"""

from absl import flags

from air_tf import cli

cli.define_run_to_use()
flags.adopt_module_key_flags(cli)
flags.DEFINE_string("export_dir", None, "Folder of the model's versions.")
flags.DEFINE_integer("version", None, "Number of this one. Default: the next free.")


def main(argv):
    cli.expect_no_arguments(argv)
    cli.check_run_to_use()
    cli.require("export_dir", "a folder for the model's versions")
    # Here, so that --help and bad flags need not wait for TensorFlow.
    from air_tf.deployment.export import export
    from air_tf.runs import RunDir

    path = export(
        RunDir(flags.FLAGS.model_dir),
        flags.FLAGS.export_dir,
        version=flags.FLAGS.version,
        max_objects=flags.FLAGS.max_objects,
    )
    print(f"The model is in {path}, how to serve it in {path.parent / 'README.md'}")


if __name__ == "__main__":
    cli.run(main)
