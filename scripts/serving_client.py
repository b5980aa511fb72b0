"""Counts and locates the objects in pictures with a running TF Serving server.

    python scripts/serving_client.py --server=localhost:8500 picture.png ...
    python scripts/serving_client.py --server=localhost:8501 --protocol=rest a.png

Prints JSON, one line for each picture. With --output_dir, writes a JSON file for each
picture, and the picture with the boxes drawn; for 3D scenes also objects.csv, with a
row for each object. For a model of pictures of any size, cuts the windows and writes
what predict.py does; takes folders, too. A picture that can't be read or that the
server refuses is reported; the others are still processed. If the server does not
answer, the program ends. Needs the extra: pip install '.[serving]'
"""

from absl import flags

from air_tf import InputError, cli

cli.define_answers()
cli.define_picture_flags()
flags.adopt_module_key_flags(cli)
flags.DEFINE_string("server", None, "Address of the server, HOST:PORT.")
flags.DEFINE_enum("protocol", "grpc", ["grpc", "rest"], "Protocol of this port.")
flags.DEFINE_string("model", "air", "Name of the model on the server.")
flags.DEFINE_float(
    "timeout",
    10.0,
    "Time to wait for the answer for a picture, in seconds: for all attempts together "
    "over gRPC, for each attempt over REST.",
)


def main(paths):
    if not paths:
        raise InputError("no picture is given; expected PNG or JPEG files")
    cli.require("server", "HOST:PORT")
    cli.require("model", "the name of a model")
    if not 0 < flags.FLAGS.timeout < float("inf"):
        raise InputError(
            f"is {flags.FLAGS.timeout}; expected a finite number above 0",
            field="timeout",
        )
    # Imported late, so that --help and invalid flags don't wait for TensorFlow.
    from air_tf.deployment.client import PROTOCOLS, to_bytes
    from air_tf.inference.predict import predict_files
    from air_tf.inference.predict_pictures import predict_pictures
    from air_tf.inference.printing import report_predictions

    client = PROTOCOLS[flags.FLAGS.protocol](
        flags.FLAGS.server, flags.FLAGS.model, timeout=flags.FLAGS.timeout
    )

    def infer(path, picture):
        # `predict_files` has read the picture already, so no invalid file is sent.
        data = to_bytes(path, picture)
        try:
            return client.infer_bytes(data)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    try:
        settings, shape = client.read_pictures() or (None, (0, 0))
        pictures = cli.given_pictures(settings)
        if pictures is None:
            predictions = predict_files(
                infer, paths, flags.FLAGS.output_dir, overwrite=flags.FLAGS.overwrite
            )
        else:
            predictions = predict_pictures(
                client.infer_windows,
                pictures,
                shape,
                paths,
                flags.FLAGS.output_dir,
                model={"model": flags.FLAGS.model},
                rois=flags.FLAGS.rois,
                overwrite=flags.FLAGS.overwrite,
            )
        return 0 if report_predictions(predictions, cli.in_flags) else 1
    finally:
        client.close()


if __name__ == "__main__":
    cli.run(main)
