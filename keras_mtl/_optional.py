"""Optional dependencies: imported on use, and named with their `pip install` line when absent."""

from __future__ import annotations

import importlib
from types import ModuleType


def require(module: str, *, extra: str, needed_by: str) -> ModuleType:
    """Imports an optional module.

    Args:
        module: its import name, `"keras_tuner"`.
        extra: the extra of keras_mtl that installs it, `"tuner"`.
        needed_by: what asks for it, `"keras_mtl.tuning"`.

    Raises:
        ImportError: if it is not installed; the message has the line that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise ImportError(
            f"{needed_by} needs `{module}`, which is not installed. Install it with: pip install 'keras_mtl[{extra}]'"
        ) from error
