"""The console script: says what to install where the command line's own packages are missing."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``emfast`` with these arguments, by default those of the process.

    Returns
    -------
    int
        The exit status: 0, 1 where data or arguments are wrong, 2 for a command line that is none,
        130 where interrupted.
    """
    if find_spec("typer") is None or find_spec("rich") is None:
        print('emfast: the command line needs: pip install "emfast[cli]"', file=sys.stderr)
        return 1
    try:
        from emfast.cli.commands import run

        return run(arguments)
    except KeyboardInterrupt:
        return 130
