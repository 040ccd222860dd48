"""The command line, `keras-mtl`. It needs the extra `cli`."""

from keras_mtl._optional import require


def main() -> None:
    """Runs the command line."""
    require("typer", extra="cli", needed_by="The command keras-mtl")
    from keras_mtl.cli._app import app

    app()


__all__ = ["main"]
