"""A progress bar on the terminal's stderr; nothing where there is no terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def progress(total: int) -> Iterator[Callable[[str], None]]:
    """Gives a function that says what is done next; each call but the first ends a step.

    Parameters
    ----------
    total : int, the number of calls that will be made
    """
    console = Console(stderr=True)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(
        *columns,
        console=console,
        disable=not console.is_terminal,
        transient=True,
        # Lines printed meanwhile scroll above the bar, but a file gets them itself.
        redirect_stdout=sys.stdout.isatty(),
    ) as bars:
        task = bars.add_task("", total=total)
        calls = 0

        def step(description: str) -> None:
            nonlocal calls
            bars.update(task, completed=calls, description=description)
            calls += 1

        yield step
