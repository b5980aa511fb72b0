"""Options of Beam from flags that are not ours."""

import logging
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from air_tf.errors import InputError

LOCAL = "DirectRunner"
# In this process. Beam itself would first try Prism for `LOCAL`, a program that it
# downloads.
_IN_PROCESS = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def pipeline_options(
    runner: str, arguments: Sequence[str], *, field: str
) -> PipelineOptions:
    """Options for a pipeline.

    Args:
      runner: a name that Beam knows.
      arguments: flags of Beam and of its runner, as --name=value.
      field: name of the flag of the runner, for messages.

    Raises:
      InputError: for an unknown runner, or flags that the local runner does not know.
        Others may know more than their options in Python.
    """
    if runner not in StandardOptions.KNOWN_RUNNER_NAMES:
        raise InputError(
            f"is {runner!r}; expected a runner of Beam, such as DirectRunner, "
            "FlinkRunner or DataflowRunner",
            field=field,
        )
    if runner == LOCAL:
        usual = PipelineOptions([]).get_all_options()
        # Beam would only log what it does not know.
        given = PipelineOptions([*arguments]).get_all_options(
            retain_unknown_options=True
        )
        for name in given:
            if name not in usual:
                raise InputError(f"--{name} is a flag of neither air_tf nor Beam")
        runner = _IN_PROCESS
    # Beam says which files it renames, and more of this kind.
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    return PipelineOptions([*arguments, f"--runner={runner}"])
