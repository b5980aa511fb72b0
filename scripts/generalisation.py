"""Counts objects in scenes with more, or with other numbers, than training saw.

    python scripts/generalisation.py --dataset=multi_mnist --seeds=5 \
        --output_dir=benchmarks/generalisation

Trains on 0, 1 and 2 objects and tests on 3, 4 and 5; trains on 0, 1 and 3 and tests on
2; with both forms of --inference and seeds 0, 1, ... Interrupted, it resumes.
"""

from absl import flags

from air_tf import InputError, cli

cli.define_run_flags()
cli.define_data_dir()
flags.adopt_module_key_flags(cli)
flags.DEFINE_integer("seeds", 5, "How many seeds to train, from 0 on.", lower_bound=1)
flags.DEFINE_string("output_dir", None, "Folder for runs and results.")


def main(argv):
    cli.expect_no_arguments(argv)
    config = cli.run_config()
    for name in ("seed", "inference"):
        if getattr(flags.FLAGS, name) is not None:
            raise InputError(f"{name} is given; expected none, several are trained")
    cli.require("output_dir", "a folder for the runs and results")
    # Here, so that --help and bad flags need not wait for TensorFlow.
    from studies import generalisation as g

    result = g.measure_generalisation(
        config,
        range(flags.FLAGS.seeds),
        flags.FLAGS.output_dir,
        data_dir=flags.FLAGS.data_dir,
    )
    print(g.format_generalisation(result))
    print(f"Tables and pictures are in {flags.FLAGS.output_dir}")


if __name__ == "__main__":
    cli.run(main, resumes=True)
