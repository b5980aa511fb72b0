"""Says what is in pictures with a model of convert.py, on a small device.

    python scripts/edge_predict.py --model=air.tflite picture.png ...

Needs numpy, Pillow and ai-edge-litert, and nothing else.
"""

# argparse, not absl: a device has the three packages above and no more.
import argparse
import sys

from air_tf.data.user_images import fit_picture
from air_tf.deployment import EdgeModel
from air_tf.errors import InputError
from air_tf.inference.predict import predict_files


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="a file of convert.py")
    parser.add_argument(
        "--output_dir",
        help="folder for NAME.json and NAME.png, with the boxes drawn; without, JSON "
        "is printed, a line for each picture",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files that exist"
    )
    parser.add_argument("images", nargs="+", help="PNG or JPEG files")
    given = parser.parse_args()
    try:
        model = EdgeModel(given.model)
        failures = predict_files(
            lambda path, picture: model.infer(
                fit_picture(picture, model.image_shape)[None]
            ),
            given.images,
            given.output_dir,
            overwrite=given.overwrite,
        )
    except InputError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {error.filename or ''}: {error.strerror or error}")
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
