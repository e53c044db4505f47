"""Classes of optional packages, which nothing imports to ask about them."""

import sys
from typing import Any


def instance_of(value: Any, module: str, name: str) -> bool:
    """Whether it is one of a class of an optional package; False where that is not imported."""
    found = getattr(sys.modules.get(module), name, None)
    return found is not None and isinstance(value, found)
