"""Counts and locates the objects in pictures on a small device.

    python scripts/edge_predict.py --model=air.tflite picture.png ...

The model is a file written by convert.py. Needs only numpy, Pillow and ai-edge-litert.
With --output_dir, a model of 3D scenes also gets objects.csv, with a row for each
object. With a model of pictures of any size, counts the objects of whole pictures, and
writes what predict.py does; takes folders, too. Their --output_dir, and TIFF files,
need the extra [pictures]. A picture that can't be read is reported; the others are
still processed.
"""

# argparse instead of air_tf.cli, because devices do not have absl.
import argparse
import re
import sys

from air_tf.deployment import EdgeModel
from air_tf.errors import AirTFError
from air_tf.files import file_hash
from air_tf.inference.predict import of_pictures, predict_files
from air_tf.inference.predict_pictures import predict_pictures
from air_tf.inference.printing import report_predictions


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="file written by convert.py")
    parser.add_argument(
        "--output_dir",
        help="folder for the results; if omitted, JSON is printed, one line for each "
        "picture",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace existing files"
    )
    parser.add_argument("images", nargs="+", help="picture files")
    given = parser.parse_args()
    try:
        model = EdgeModel(given.model)
        pictures = model.conversion.pictures
        if pictures is not None:
            predictions = predict_pictures(
                model.infer,
                pictures,
                model.image_shape[:2],
                given.images,
                given.output_dir,
                model={"model": file_hash(given.model)},
                overwrite=given.overwrite,
            )
        else:
            predictions = predict_files(
                of_pictures(model.infer, model.image_shape, model.kinds),
                given.images,
                given.output_dir,
                overwrite=given.overwrite,
            )
        return 0 if report_predictions(predictions, _in_flags) else 1
    except AirTFError as error:
        sys.exit(f"error: {_in_flags(error)}")


def _in_flags(error: AirTFError) -> str:
    """The text of the error, with names of settings as flags."""
    text = str(error)
    if getattr(error, "field", None) == "output_dir":
        text = f"--{text}"
    return re.sub(r"`(output_dir|overwrite)`", r"--\1", text)


if __name__ == "__main__":
    sys.exit(main())
