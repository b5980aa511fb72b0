"""Checks an exported model: numbers, signatures, operations, TF Serving's files.

    python scripts/check_export.py exports/air

Takes the largest version, or the one that is named (exports/air/2); exits with 1 if
anything fails. Needs the extras: pip install '.[serving,edge]'
"""

from absl import flags

from air_tf import InputError, cli

cli.define_data_dir()
flags.adopt_module_key_flags(cli)


def main(paths):
    if len(paths) != 1:
        raise InputError(
            f"{len(paths)} folders are named; expected one, that of export.py"
        )
    # Here, so that --help and bad flags need not wait for TensorFlow.
    from air_tf.deployment.check_export import check_export, format_table

    checks = list(check_export(paths[0], data_dir=flags.FLAGS.data_dir))
    print(format_table(checks))
    failed = sum(not check.passed for check in checks)
    print(f"{len(checks) - failed} of {len(checks)} checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    cli.run(main)
