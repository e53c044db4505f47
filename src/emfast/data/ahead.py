"""Reading ahead: what comes next is made while what came last is used."""

import threading
from collections import deque
from collections.abc import Generator, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")

# How long a thread waits for someone to take what it has made, before it ends: whoever takes the
# next item starts another one. So no thread is left where an error holds on to what took items.
PATIENCE = 0.5

# A batch is read, one waits, and one is used.
DEPTH = 1


def read_ahead(items: Iterator[Item], depth: int = DEPTH) -> Generator[Item, None, None]:
    """The same items, made in a thread of its own, at most `depth` of which wait.

    What it raises is raised here, where the item would have come. When this generator ends or is
    closed, there is no thread any more, and `items` is closed.
    """
    reader, value = _Reader(items, depth), None
    try:
        while True:
            kind, value = reader.take()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
            del value
    finally:
        # An error would hold on to itself by this frame.
        value = None
        reader.close()


class _Reader:
    """Makes items in a thread, as long as they are wanted."""

    def __init__(self, items: Iterator[Any], depth: int):
        self._items, self._depth = items, depth
        self._made: deque[tuple[str, Any]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        # Whether the thread makes items, or waits for room; and whether there may be any, and are
        # wanted.
        self._runs, self._goes_on, self._wanted = False, True, True

    def take(self) -> tuple[str, Any]:
        """The next item, or the end, or an error."""
        with self._changed:
            if not self._runs and self._goes_on:
                self._runs = True
                self._thread = threading.Thread(target=self._run, name="emfast-reader", daemon=True)
                self._thread.start()
            self._changed.wait_for(lambda: self._made)
            taken = self._made.popleft()
            self._changed.notify_all()
        return taken

    def _run(self) -> None:
        while self._has_room():
            made = self._next()
            with self._changed:
                self._goes_on = made[0] == "item"
                self._made.append(made)
                self._changed.notify_all()
            del made

    def _has_room(self) -> bool:
        """Whether to make an item, for which there is room now or soon."""
        with self._changed:
            self._runs = (
                self._goes_on
                and self._changed.wait_for(
                    lambda: len(self._made) <= self._depth or not self._wanted, PATIENCE
                )
                and self._wanted
            )
            return self._runs

    def _next(self) -> tuple[str, Any]:
        try:
            return "item", next(self._items)
        except StopIteration:
            return "end", None
        except BaseException as error:
            return "error", error

    def close(self) -> None:
        """Nothing is wanted any more."""
        with self._changed:
            self._wanted = False
            self._changed.notify_all()
        # It has no life before it was started, and may be what collects this as garbage.
        thread = self._thread
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join()
        self._made.clear()
        close = getattr(self._items, "close", None)
        if close is not None:
            close()
