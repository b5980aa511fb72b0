r"""Evaluates a run on held-out images. Prints a table, writes JSON and a report.

    python scripts/evaluate.py --model_dir=RUN --output=E.json --report=E.html
    python scripts/evaluate.py --model_dir=RUN --dataset=multi_mnist/0-3 \
        --max_objects=5 --output=E.json
    python scripts/evaluate.py --model_dir=RUN --dataset=file --data_file=X.npz \
        --output=E.json
"""

from absl import flags

from air_tf import InputError, cli, run_flags
from air_tf.config import DataConfig
from air_tf.config.datasets import require_dataset
from air_tf.data.scenes import SPLITS

run_flags.define_setting_flags(DataConfig, default="that of the run")
cli.define_run_to_use()
cli.define_overwrite()
cli.define_data_dir()
flags.adopt_module_key_flags(cli)
flags.adopt_module_key_flags(run_flags)
flags.DEFINE_enum(
    "split",
    "test",
    SPLITS,
    "Split to evaluate. For a file or folder that the run was not trained on, test "
    "is all images.",
)
flags.DEFINE_enum(
    "bound",
    "elbo",
    ["elbo", "iwae"],
    "iwae: also compute the importance-weighted bound of log p(x), which is slower.",
)
flags.DEFINE_integer(
    "num_samples",
    50,
    "Samples per image for --bound=iwae.",
    lower_bound=1,
    upper_bound=5000,
)
flags.DEFINE_enum(
    "count_prior",
    "training",
    ["training", "fitted"],
    "p(n) of the bounds: that of training, or as fitted to the training images after "
    "training.",
)
flags.DEFINE_string("output", None, "JSON file for the figures.")
flags.DEFINE_string(
    "report", None, "HTML file for a report with figures, diagrams and pictures."
)


def main(argv):
    cli.expect_no_arguments(argv)
    cli.require_new_file("output")
    cli.require_new_file("report")
    if flags.FLAGS.report and flags.FLAGS.report == flags.FLAGS.output:
        raise InputError(
            f"{flags.FLAGS.report} is also `output`; expected another", field="report"
        )
    if flags.FLAGS["num_samples"].present and flags.FLAGS.bound != "iwae":
        raise InputError(
            "is given; expected nothing without --bound=iwae", field="num_samples"
        )
    run = cli.run_to_use()
    data = run_flags.given_settings(DataConfig)
    require_dataset(run.read_config().with_data(data).data.dataset)
    # Imported late, so that --help and invalid flags don't wait for TensorFlow.
    from air_tf.evaluation.evaluate_run import evaluate_run
    from air_tf.evaluation.table import format_table
    from air_tf.files import write_json

    evaluation = evaluate_run(
        run,
        data,
        split=flags.FLAGS.split,
        data_dir=flags.FLAGS.data_dir,
        max_objects=flags.FLAGS.max_objects,
        proposals=flags.FLAGS.proposals,
        fitted_count=flags.FLAGS.count_prior == "fitted",
        num_samples=flags.FLAGS.num_samples if flags.FLAGS.bound == "iwae" else None,
        report_file=flags.FLAGS.report,
    )
    print(f"{evaluation.dataset}, {evaluation.split}:")
    print(format_table(evaluation))
    if flags.FLAGS.output:
        write_json(flags.FLAGS.output, evaluation.to_dict())
        print(f"Figures are in {flags.FLAGS.output}")
    if flags.FLAGS.report:
        print(f"The report is {flags.FLAGS.report}")


if __name__ == "__main__":
    cli.run(main)
