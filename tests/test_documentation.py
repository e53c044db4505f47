"""Examples in the README and in docstrings say what they print."""

import contextlib
import doctest
import importlib
import io
import pkgutil
import re
from pathlib import Path

import pytest

import emfast

README = Path(__file__).parents[1] / "README.md"
MODULES = [
    module.name for module in pkgutil.walk_packages(emfast.__path__, "emfast.")
    if "commands" not in module.name and "cli" not in module.name
]  # fmt: skip


def test_readme_prints_what_it_says():
    snippets = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert snippets
    for snippet in snippets:
        said = re.findall(r"print\(.*\) +# (.*)", snippet)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(snippet, {})
        assert printed.getvalue().split() == " ".join(said).split()


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_print_what_they_say(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
