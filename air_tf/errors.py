"""Errors that a user can act on. Anything else that is raised is a bug."""


class AirTFError(Exception):
    """Base class. Programs print the text as one line, without a traceback.

    Settings are named in backticks, as in `learning_rate`: a program shows them as
    its flags.
    """


class InputError(AirTFError, ValueError):
    """Bad input: a setting, an argument, a file or one of its fields.

    Args:
      text: what was found and what is expected.
      field: the setting or argument at fault, which starts the message; None if the
        text names a file.

    Attributes:
      field: as given.
    """

    def __init__(self, text: str, *, field: str | None = None):
        super().__init__(text if field is None else f"{field} {text}")
        self.field = field


class OutputError(AirTFError):
    """A file can't be written: no space, no permission."""


class TrainingDiverged(AirTFError):
    """The objective is no longer a number."""


class ProcessKilled(AirTFError):
    """A worker process ended without a result, for example for lack of memory."""


class ServerError(AirTFError):
    """A model server does not answer, or does not serve the model."""
