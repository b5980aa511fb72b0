r"""Compares air_tf with classical methods on real pictures of nuclei.

    python scripts/real_pictures.py --dataset=nuclei/dsb2018_256 --object_size=5,40 \
        --output_dir=benchmarks/dsb2018

Classical methods are tuned on labels of training pictures. ObjectCounter learns from
all training pictures without labels, with seeds 0, 1, ... All are measured on the test
pictures, which show other fields. Times are measured in this process, of which every
operation of a model uses one core: nothing else should run on the machine. Run the same
command again to resume.
"""

import pathlib

from absl import flags

from air_tf import InputError, cli
from air_tf.config.checks import one_of
from air_tf.config.datasets import REAL_PICTURES, require_dataset
from air_tf.extras import require_extra

flags.DEFINE_string(
    "dataset",
    "nuclei/dsb2018_256",
    f"{one_of(REAL_PICTURES)}, optionally with a configuration.",
)
flags.DEFINE_list(
    "object_size",
    None,
    "Smallest and largest size of an object, in pixels; guessed if omitted.",
)
flags.DEFINE_integer(
    "seeds",
    5,
    "Number of seeds of air_tf: 0, 1, ... With 0, only the classical methods run.",
    lower_bound=0,
)
flags.DEFINE_integer(
    "tuning_pictures",
    40,
    "Number of training pictures that the classical methods are tuned on.",
    lower_bound=1,
)
cli.define_data_dir()
flags.adopt_module_key_flags(cli)
flags.DEFINE_string("output_dir", None, "Folder for results.")


def main(argv: list[str]) -> None:
    cli.expect_no_arguments(argv)
    cli.require("output_dir", "a folder for the results")
    size = _object_size(flags.FLAGS.object_size)
    require_dataset(flags.FLAGS.dataset, REAL_PICTURES)
    require_extra("pictures")
    # Imported late, so that --help and invalid flags don't wait for TensorFlow.
    from studies.real_pictures import compare, tables

    new_counter = None
    if flags.FLAGS.seeds:
        from air_tf import ObjectCounter
        from air_tf.model.tracing import one_core_an_operation

        # As predict.py does; it holds for trainings, too, which take longer.
        one_core_an_operation()

        def new_counter(seed: int) -> ObjectCounter:
            return ObjectCounter(object_size=size, seed=seed)

    rows, test = compare.compare_pictures(
        flags.FLAGS.dataset,
        flags.FLAGS.output_dir,
        new_counter=new_counter,
        seeds=range(flags.FLAGS.seeds),
        object_size=size,
        tuning_pictures=flags.FLAGS.tuning_pictures,
        data_dir=flags.FLAGS.data_dir,
    )
    folder = pathlib.Path(flags.FLAGS.output_dir)
    print(tables.save_results(folder, rows, test))
    print(f"Tables and a picture are in {folder}")


def _object_size(texts: list[str] | None) -> tuple[float, float] | None:
    if texts is None:
        return None
    try:
        low, high = map(float, texts)
    except ValueError:
        low, high = 0.0, 0.0
    if not 0.0 < low <= high < float("inf"):
        raise InputError(
            f"is {','.join(texts)[:80]!r}; expected two numbers above 0, as in 5,40",
            field="object_size",
        )
    return low, high


if __name__ == "__main__":
    cli.run(main, resumes=True)
