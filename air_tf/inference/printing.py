"""What the programs print of predictions. Needs neither absl nor TensorFlow."""

import json
import sys
from collections.abc import Callable, Iterable

from air_tf.errors import AirTFError
from air_tf.inference.predict import Prediction


def report_predictions(
    predictions: Iterable[Prediction], as_text: Callable[[AirTFError], str]
) -> bool:
    """Prints predictions, one line for each, as they come.

    Those with a file are "PATH: N objects, in FILE", with a note where the file was
    there before; others are JSON. Errors go to stderr.

    Args:
      predictions: see `predict_files`.
      as_text: gives the text of an error, with names of settings as flags.

    Returns:
      Whether all succeeded.
    """
    succeeded = True
    for path, answer, file, error, is_old in predictions:
        if answer is None:
            assert error is not None
            print(f"error: {as_text(error)}", file=sys.stderr, flush=True)
            succeeded = False
        elif file is None:
            print(json.dumps(answer), flush=True)
        else:
            note = ", as before" if is_old else ""
            print(f"{path}: {answer['count']} objects, in {file}{note}", flush=True)
    return succeeded
