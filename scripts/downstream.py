r"""Learns a downstream task from few labels, with AIR's objects and without AIR.

    python scripts/downstream.py --preset=mnist --seeds=3 \
        --output_dir=benchmarks/few_labels

The tasks are the sum of two digits, and whether they ascend from left to right. AIR is
trained without labels. Classifiers of its objects are compared with a convolutional
network and an autoencoder, for several numbers of labelled scenes and seeds 0, 1, ...
Run the same command again to resume.
"""

from absl import flags

from air_tf import InputError, cli, run_flags
from studies.few_labels.config import FewLabelsConfig

run_flags.define_run_flags()
run_flags.define_setting_flags(FewLabelsConfig)
cli.define_data_dir()
flags.adopt_module_key_flags(cli)
flags.adopt_module_key_flags(run_flags)
flags.DEFINE_integer("seeds", 3, "Number of seeds: 0, 1, ...", lower_bound=1)
flags.DEFINE_list(
    "num_labels",
    None,
    "Numbers of labelled scenes. Default: 64,250,1000,4000,10000,50000, up to the "
    "number of training scenes.",
)
flags.DEFINE_string("output_dir", None, "Folder for runs and results.")


def main(argv: list[str]) -> None:
    cli.expect_no_arguments(argv)
    config = run_flags.run_config()
    settings = FewLabelsConfig(**run_flags.given_settings(FewLabelsConfig))
    if flags.FLAGS.seed is not None:
        raise InputError("is given; expected `seeds`, a number", field="seed")
    cli.require("output_dir", "a folder for the runs and results")
    num_labels = _num_labels(flags.FLAGS.num_labels)
    # Imported late, so that --help and invalid flags don't wait for TensorFlow.
    from studies.few_labels import compare

    result = compare.compare_labels(
        config,
        range(flags.FLAGS.seeds),
        flags.FLAGS.output_dir,
        settings=settings,
        num_labels=num_labels,
        data_dir=flags.FLAGS.data_dir,
    )
    print(compare.format_few_labels(result))
    print(f"Tables and a picture are in {flags.FLAGS.output_dir}")


def _num_labels(texts: list[str] | None) -> list[int] | None:
    if texts is None:
        return None
    # The limit on digits comes first, because int() raises for thousands of digits.
    if not texts or not all(
        text.isdecimal() and len(text) < 10 and int(text) > 0 for text in texts
    ):
        raise InputError(
            f"is {','.join(texts)[:80]!r}; expected whole numbers from 1 to 999999999",
            field="num_labels",
        )
    return sorted({int(text) for text in texts})


if __name__ == "__main__":
    cli.run(main, resumes=True)
