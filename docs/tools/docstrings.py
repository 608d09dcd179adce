"""How our docstrings are read for the reference.

The header lines of a module (Source, Letters, Floor, ...) stay apart, and an `Example:` is code.
"""

import re

import griffe

HEADER = re.compile(r"^(Source|Letters|Names|Floor|Command) {2,}", re.MULTILINE)
EXAMPLE = re.compile(r"^(\s*)Example:$", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Changes them as they are read."""

    def on_object(self, *, obj: griffe.Object, **_) -> None:
        """Of a module, class, function or attribute."""
        if obj.docstring:
            text = HEADER.sub(r"\n**\1** ", obj.docstring.value)
            obj.docstring.value = EXAMPLE.sub(r"\1Examples:", text)
