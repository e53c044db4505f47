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

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_excerpts_are_what_the_files_say(page):
    """ "In `file`:" stands before an excerpt, whose lines of three dots leave something out."""
    text = page.read_text(encoding="utf-8")
    excerpts = re.findall(r"In `([^`]+)`:\n\n```\w+\n(.*?)```", text, re.DOTALL)
    assert len(excerpts) > 3
    for file, excerpt in excerpts:
        source = without_indentation((ROOT / file).read_text(encoding="utf-8"))
        for part in re.split(r"\n *\.\.\.\n", excerpt):
            assert without_indentation(part).strip() in source, f"{file}: {part}"


def without_indentation(code):
    return re.sub(r"^[ \t]+", "", code, flags=re.MULTILINE)


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_print_what_they_say(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
