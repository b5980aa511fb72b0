"""What users can put right."""


class InputError(ValueError):
    """Bad input: names the flag, file or field, what was found and expected.

    Programs print its text as one line, without a traceback.
    """
