"""What pyproject.toml can't say: the long description for a package index.

A package index shows neither pictures nor pages of a checkout, so README goes there
without its pictures, and with relative links as plain text.
"""

import re
from pathlib import Path

from setuptools import setup

_README = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
_WITHOUT_COMMENTS = re.sub(r"<!--.*?-->\n*", "", _README, flags=re.DOTALL)
_WITHOUT_PICTURES = re.sub(r"!\[[^\]]*\]\((?!https:)[^)]*\)\n*", "", _WITHOUT_COMMENTS)

setup(
    long_description=re.sub(
        r"\[([^\]]+)\]\((?!https?:)[^)]*\)", r"\1", _WITHOUT_PICTURES
    ),
    long_description_content_type="text/markdown",
)
