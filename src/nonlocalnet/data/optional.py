"""Optional libraries: imported where they are used, and named with their cure when absent."""

import importlib
from types import ModuleType


class MissingLibrary(ImportError, ValueError):
    """An extra that is not installed; the text says which command installs it."""


def require(module: str, purpose: str, extra: str) -> ModuleType:
    """Imports a module of an extra.

    Raises:
        MissingLibrary: It is not installed.

    Example:
        >>> require("no_such_library", "juggling", "circus")
        Traceback (most recent call last):
        ...
        nonlocalnet.data.optional.MissingLibrary: juggling needs no_such_library, which is not \
installed; run: pip install 'nonlocalnet[circus]'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name and error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingLibrary(
            f"{purpose} needs {module}, which is not installed; "
            f"run: pip install 'nonlocalnet[{extra}]'"
        ) from None
