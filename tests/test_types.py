"""Stubs say what the compiled modules have, and signatures what arguments may be."""

import ast
import inspect
import runpy
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import get_args

import pytest

import emcore
from emfast import GaussianMixture, annotations
from emfast.starts.initialize import INIT_PARAMS

# Classes that no caller needs, and what Cython imports.
INTERNAL = {"Buffer", "GateRoom", "PatternMemory", "SequenceWorkspace", "Workspace", "array"}

BUILDS = [
    f"emcore._{name}_{precision}"
    for name in emcore.runnable_instruction_sets()
    for precision in ("float32", "float64")
]


def stub(name):
    return ast.parse(files("emcore").joinpath(f"{name}.pyi").read_text(encoding="utf-8"))


def described(body):
    """By name what a stub says of functions, properties, variables and classes."""
    named = {node.name: node for node in body if hasattr(node, "name")}
    return named | {node.target.id: node for node in body if isinstance(node, ast.AnnAssign)}


def arguments(function):
    """The names of arguments, those that must be named behind a star."""
    given = function.args
    names = [each.arg for each in given.posonlyargs + given.args if each.arg != "self"]
    return names + ["*"] * bool(given.kwonlyargs) + [each.arg for each in given.kwonlyargs]


def arguments_of_compiled(function):
    names, star = [], False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            names, star = [*names, "*"], True
        names.append(parameter.name)
    return [name for name in names if name != "self"]


@pytest.mark.parametrize("name", BUILDS)
def test_the_stub_of_the_kernels_is_what_every_build_has(name):
    build, body = import_module(name), stub("_kernels").body
    classes = described(body)
    kernels = described(classes.pop("Kernels").body)
    public = {each for each in vars(build) if not each.startswith("_")} - INTERNAL
    assert public == set(kernels)
    for each, node in kernels.items():
        compiled = getattr(build, each)
        if isinstance(node, ast.FunctionDef):
            assert arguments(node) == arguments_of_compiled(compiled)
        elif isinstance(compiled, type):
            assert_class_is(compiled, classes[each])


def assert_class_is(compiled, node):
    own = {name for name in vars(compiled) if not name.startswith("_")}
    wanted = described(node.body)
    assert own == set(wanted) - {"__init__"}
    assert [base.__name__ for base in compiled.__bases__ if base is not object] == [
        base.id for base in node.bases
    ]
    for name in own:
        if not wanted[name].decorator_list:
            assert arguments(wanted[name]) == arguments_of_compiled(getattr(compiled, name))


def test_the_stub_of_the_runtime_is_what_it_has():
    runtime = import_module("emcore._runtime")
    assert {name for name in vars(runtime) if not name.startswith("_")} == set(
        described(stub("_runtime").body)
    )


def test_what_signatures_allow_is_what_is_checked():
    constraints = GaussianMixture._parameter_constraints
    for argument, annotation in [
        ("init_params", annotations.InitParams),
        ("restarts", annotations.Restarts),
        ("assignment", annotations.Assignment),
        ("covariance_type", annotations.CovarianceType),
    ]:
        assert set(get_args(annotation)) == constraints[argument][0].options
    assert get_args(annotations.InitParams) == INIT_PARAMS


def test_a_program_that_mypy_accepts_runs(capsys):
    runpy.run_path(str(Path(__file__).parent / "typed" / "public_api.py"), run_name="__main__")
    assert emcore.instruction_set in capsys.readouterr().out
