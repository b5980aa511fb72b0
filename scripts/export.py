"""Exports a trained run as a SavedModel for TF Serving.

    python scripts/export.py --model_dir=RUN --export_dir=exports/air

Writes EXPORT_DIR/VERSION. Also writes TF Serving's settings files and a model card to
EXPORT_DIR if they are missing. Needs the extra: pip install '.[serving]'
"""

from absl import flags

from air_tf import cli
from air_tf.deployment.versions import require_new_version

cli.define_run_to_use()
flags.adopt_module_key_flags(cli)
flags.DEFINE_string("export_dir", None, "Folder that holds the versions of the model.")
flags.DEFINE_integer(
    "version", None, "Number of the new version. Default: the next free number."
)


def main(argv):
    cli.expect_no_arguments(argv)
    cli.require("export_dir", "a folder for the model's versions")
    run = cli.run_to_use()
    if flags.FLAGS.version is not None:
        require_new_version(flags.FLAGS.export_dir, flags.FLAGS.version)
    # Imported late, so that --help and invalid flags don't wait for TensorFlow.
    from air_tf.deployment.export import export

    path = export(
        run,
        flags.FLAGS.export_dir,
        version=flags.FLAGS.version,
        max_objects=flags.FLAGS.max_objects,
        proposals=flags.FLAGS.proposals,
    )
    print(f"Wrote {path}; {path.parent / 'README.md'} explains how to serve it")


if __name__ == "__main__":
    cli.run(main)
