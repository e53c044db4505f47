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
PAGES_OF_EXCERPTS = [ROOT / "docs" / "add-an-emission.md"]
PAGES_OF_CODE = [
    ROOT / "docs" / f"{name}.md" for name in ("large-data", "scaling", "write-a-model")
]
MODULES = [
    module.name for module in pkgutil.walk_packages(emfast.__path__, "emfast.")
    if module.name != "emfast.cli.commands"
]  # fmt: skip


def snippets(page):
    found = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found


def assert_prints_what_it_says(snippet, variables):
    said = re.findall(r"print\(.*\) +# (.*)", snippet)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(snippet, variables)
    assert printed.getvalue().split() == " ".join(said).split()


def test_every_page_is_tested():
    assert sorted(PAGES_OF_EXCERPTS + PAGES_OF_CODE) == sorted((ROOT / "docs").glob("*.md"))


def test_readme_prints_what_it_says():
    for snippet in snippets(README):
        assert_prints_what_it_says(snippet, {})


@pytest.mark.parametrize("page", PAGES_OF_CODE, ids=lambda page: page.name)
def test_the_code_of_a_page_runs_from_top_to_bottom(page):
    variables = {}
    for snippet in snippets(page):
        assert "print(" in snippet
        assert_prints_what_it_says(snippet, variables)


@pytest.mark.parametrize("page", PAGES_OF_EXCERPTS, ids=lambda page: page.name)
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
