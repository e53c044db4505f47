"""The command line: `main` is the console script ``emfast``."""

from emfast.cli.console import main

__all__ = ["main"]
