r"""Learns a second task with few labels from what AIR finds without any.

    python scripts/downstream.py --dataset=multi_mnist --seeds=3 \
        --output_dir=benchmarks/downstream

The sum of two digits, and whether they ascend from left to right, from AIR's objects,
a convolutional network and an autoencoder, for several numbers of labelled scenes and
seeds 0, 1, ... Interrupted, it resumes.
"""

from absl import flags

from air_tf import InputError, cli

cli.define_run_flags()
cli.define_data_dir()
flags.adopt_module_key_flags(cli)
flags.DEFINE_integer("seeds", 3, "How many seeds, from 0 on.", lower_bound=1)
flags.DEFINE_list(
    "num_labels",
    None,
    "How many scenes have labels. Default: 64,250,1000,4000,10000,50000, as far as "
    "there are scenes.",
)
flags.DEFINE_string("output_dir", None, "Folder for runs and results.")


def main(argv):
    cli.expect_no_arguments(argv)
    config = cli.run_config()
    if flags.FLAGS.seed is not None:
        raise InputError("seed is given; expected none, several are trained")
    cli.require("output_dir", "a folder for the runs and results")
    texts = flags.FLAGS.num_labels
    num_labels = None
    if texts is not None:
        # Python reads no number of thousands of digits.
        if not texts or not all(
            text.isdecimal() and len(text) < 10 and int(text) > 0 for text in texts
        ):
            given = ",".join(texts)[:80]
            raise InputError(
                f"num_labels is {given!r}; expected whole numbers from 1 to 999999999"
            )
        num_labels = sorted({int(text) for text in texts})
    # Here, so that --help and bad flags need not wait for TensorFlow.
    from studies.few_labels import compare

    result = compare.compare_labels(
        config,
        range(flags.FLAGS.seeds),
        flags.FLAGS.output_dir,
        num_labels=num_labels,
        data_dir=flags.FLAGS.data_dir,
    )
    print(compare.format_downstream(result))
    print(f"Tables and a picture are in {flags.FLAGS.output_dir}")


if __name__ == "__main__":
    cli.run(main, resumes=True)
