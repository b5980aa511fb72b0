"""Checks an exported model: results, signatures, operations, TF Serving's settings.

    python scripts/check_export.py exports/air

Checks the largest version, or that in the path (exports/air/2). The exit status is 1 if
a check fails. Needs the extras: pip install '.[serving,edge]'
"""

from absl import flags

from air_tf import InputError, cli
from air_tf.deployment.versions import find_version

cli.define_data_dir()
flags.adopt_module_key_flags(cli)


def main(paths):
    if len(paths) != 1:
        raise InputError(
            f"{len(paths)} folders are given; expected one, written by export.py"
        )
    find_version(paths[0])  # refuses what is no export
    # Imported late, so that --help and invalid flags don't wait for TensorFlow.
    from air_tf.deployment.check_export import check_export, format_table

    checks = list(check_export(paths[0], data_dir=flags.FLAGS.data_dir))
    print(format_table(checks))
    failed = sum(not check.passed for check in checks)
    print(f"{len(checks) - failed} of {len(checks)} checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    cli.run(main)
