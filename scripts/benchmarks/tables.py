"""Tables of results."""

from collections.abc import Iterable, Sequence

from tabulate import tabulate


def markdown_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in GitHub's Markdown, its cells as they are given."""
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def optional(value: float | None, form: str, missing: str = "") -> str:
    """A number formatted, or the text for one that is unavailable."""
    return missing if value is None else format(value, form)
