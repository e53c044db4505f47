"""Reading ahead: what comes next is made while what came last is used."""

import queue
import threading
from collections.abc import Generator, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")

# How long a reader waits for room before it looks whether anyone still wants what it has read.
PATIENCE = 0.1

# A batch is read, one waits, and one is used.
DEPTH = 1


def read_ahead(items: Iterator[Item], depth: int = DEPTH) -> Generator[Item, None, None]:
    """The same items, made by a thread of its own, at most `depth` of which wait.

    What it raises is raised here, where the item would have come. The thread ends with the last
    item, or when this generator is closed; `items` is closed by it then.
    """
    made: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    unwanted = threading.Event()

    def hand_over(kind: str, value: Any = None) -> None:
        while not unwanted.is_set():
            try:
                return made.put((kind, value), timeout=PATIENCE)
            except queue.Full:
                continue

    def read() -> None:
        try:
            for item in items:
                hand_over("item", item)
                del item
                if unwanted.is_set():
                    break
            hand_over("end")
        except BaseException as error:
            hand_over("error", error)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=read, name="emfast-reader", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = made.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
            del value
    finally:
        unwanted.set()
        thread.join()
