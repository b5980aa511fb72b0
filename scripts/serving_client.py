"""Asks a running TF Serving what is in pictures.

    python scripts/serving_client.py --server=localhost:8500 picture.png ...
    python scripts/serving_client.py --server=localhost:8501 --protocol=rest a.png

Prints JSON, a line for each picture, or with --output_dir writes it with the
pictures and the boxes drawn. Needs the extra: pip install '.[serving]'
"""

import sys

from absl import flags

from air_tf import InputError, cli

cli.define_answers()
flags.adopt_module_key_flags(cli)
flags.DEFINE_string("server", None, "HOST:PORT.")
flags.DEFINE_enum("protocol", "grpc", ["grpc", "rest"], "How to ask.")
flags.DEFINE_string("model", "air", "Name of the model.")
flags.DEFINE_float("timeout", 10.0, "Seconds for an answer.")


def main(paths):
    if not paths:
        raise InputError("no picture is named; expected PNG or JPEG files")
    cli.require("server", "HOST:PORT")
    cli.require("model", "the name of a model")
    if not 0 < flags.FLAGS.timeout < float("inf"):
        raise InputError(f"timeout is {flags.FLAGS.timeout}; expected seconds")
    # Here, so that --help and bad flags need not wait for TensorFlow.
    from air_tf.deployment.client import PROTOCOLS, ServerError, to_bytes
    from air_tf.inference.predict import predict_files

    client = PROTOCOLS[flags.FLAGS.protocol](
        flags.FLAGS.server, flags.FLAGS.model, timeout=flags.FLAGS.timeout
    )

    def infer(path, picture):
        # It has been read here, so that only good ones are sent.
        data = to_bytes(path, picture)
        try:
            return client.infer_bytes(data)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    try:
        failures = predict_files(
            infer, paths, flags.FLAGS.output_dir, overwrite=flags.FLAGS.overwrite
        )
    except ServerError as error:
        sys.exit(f"error: {error}")
    finally:
        client.close()
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    cli.run(main)
