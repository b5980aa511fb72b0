"""Errors that users can fix. Any other exception is a bug."""


class AirTFError(Exception):
    """Base class. Programs print the message as one line, without a traceback.

    Messages name settings in backticks, for example `learning_rate`. Programs print
    them as flags: --learning_rate.
    """


class InputError(AirTFError, ValueError):
    """Bad input: a setting, an argument, a file or one of its fields.

    Args:
      text: what was found, and what is expected.
      field: the invalid setting or argument, which is put before the text; None if
        the text names a file.

    Attributes:
      field: as given.
    """

    def __init__(self, text: str, *, field: str | None = None):
        super().__init__(text if field is None else f"{field} {text}")
        self.field = field


class OutputError(AirTFError):
    """A file can't be written, for example for lack of space or permission."""


class TrainingDiverged(AirTFError):
    """The objective or its gradient is NaN or infinite."""


class ProcessKilled(AirTFError):
    """A worker process ended without a result, for example for lack of memory."""


class ServerError(AirTFError):
    """A model server does not answer, or does not serve the model."""


class RendererError(AirTFError):
    """The process that draws pictures has ended, twice for the same request."""
