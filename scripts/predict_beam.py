r"""Counts and locates the objects in any number of pictures, with Apache Beam.

    python scripts/predict_beam.py --model=exports/air --input='plates/*.png' --output=D
    python scripts/predict_beam.py --model=gs://B/air/1 --input='gs://B/*.tif' \
        --output=gs://B/results --runner=DataflowRunner --project=P --region=R ...

The model is an export of export.py. Inputs are PNG, JPEG or TIFF files, or TFRecord and
Parquet files of their bytes. Writes the rows of counts.csv and objects.csv of every
picture into D/counts-* and D/objects-*, each once. A picture that can't be used gets a
row in D/bad_pictures-*, with the reason, and stops nothing.

Flags that are not described here go to Beam, such as --direct_num_workers=4
--direct_running_mode=multi_processing. Needs the extra: pip install '.[scale]'
"""

from absl import flags

from air_tf import cli
from air_tf.deployment.versions import find_version
from air_tf.extras import require_extra

flags.DEFINE_string("model", None, "Folder of export.py, or one of its versions.")
flags.DEFINE_multi_string(
    "input", [], "Pattern of files. It may be given several times."
)
flags.DEFINE_string("output", None, "New folder for the results.")
flags.DEFINE_enum("format", "parquet", ["parquet", "jsonl"], "Of the results.")
flags.DEFINE_string("runner", "DirectRunner", "What executes the pipeline, for Beam.")


def main(for_beam):
    cli.require("model", "a folder of export.py")
    cli.require("input", "a pattern of files")
    cli.require("output", "a new folder")
    if "://" not in flags.FLAGS.model:
        find_version(flags.FLAGS.model)  # refuses what is no export
    require_extra("scale")
    # Imported late, so that --help and invalid flags don't wait for TensorFlow.
    from air_tf.deployment.beam.options import pipeline_options

    options = pipeline_options(flags.FLAGS.runner, for_beam, field="runner")
    from air_tf.deployment.beam.predict import predict

    totals = predict(
        flags.FLAGS.model,
        flags.FLAGS.input,
        flags.FLAGS.output,
        options=options,
        format=flags.FLAGS.format,
    )
    if totals is not None:
        print(
            f"{totals.pictures} pictures, {totals.objects} objects, "
            f"{totals.bad_pictures} pictures that can't be used"
        )
    print(f"Results are in {flags.FLAGS.output}")


if __name__ == "__main__":
    cli.run(main, keeps_unknown=True)
