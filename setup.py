"""Builds emcore: the same kernels for every instruction set and precision, chosen at import."""

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError, PlatformError

SOURCES = Path("src/emcore")
VARIANTS = Path("build/variants/emcore")
WITHOUT_OPENMP = os.environ.get("EMFAST_BUILD_WITHOUT_OPENMP", "") not in ("", "0")

# Instruction set: bytes of a vector register, compiler flags. None of them may change the
# floating-point mode of the process that imports the module, as -ffast-math does.
X86_64 = {
    "x86_64_v2": (16, ["-march=x86-64-v2"]),
    "x86_64_v3": (32, ["-march=x86-64-v3"]),
    "x86_64_v4": (64, ["-march=x86-64-v4", "-mprefer-vector-width=512"]),
}
PLAIN = {"plain": (16, [])}
# The blocks of the kernels have constant sizes only once they are inlined.
ALWAYS_INLINE = ("CYTHON_INLINE", "inline __attribute__((always_inline))")
# Python's own flags ask for debugging information, which is five times as large as the code.
OPTIMISE = ["-O3", "-g0", "-fno-math-errno", "-fno-trapping-math"]

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    # A module keeps nothing between calls, and an emission nothing between passes.
    "freethreading_compatible": True,
}

OPENMP_PROBE = """
#include <omp.h>
int main(void)
{
    int threads = 0;
    #pragma omp parallel reduction(+ : threads)
    threads += 1;
    return threads >= 1 ? 0 : 1;
}
"""


def is_msvc():
    return sys.platform == "win32" and "gcc" not in os.environ.get("CC", "")


def instruction_sets():
    """The builds of the kernels for the machine that is compiled for."""
    target = os.environ.get("_PYTHON_HOST_PLATFORM", platform.machine()).lower()
    if not is_msvc() and target.endswith(("x86_64", "amd64")):
        return X86_64
    return PLAIN


def openmp_flags():
    if WITHOUT_OPENMP:
        return [], []
    if is_msvc():
        return ["/openmp"], []
    if sys.platform == "darwin":
        return ["-Xpreprocessor", "-fopenmp"], ["-lomp"]
    return ["-fopenmp"], ["-fopenmp"]


def extensions():
    """One tiny module for each (instruction set, precision), all of which include kernels.pxi."""
    compile_openmp, link_openmp = openmp_flags()
    optimise = ["/O2"] if is_msvc() else OPTIMISE
    headers = [str(path) for path in sorted([*SOURCES.glob("*.pxi"), *SOURCES.glob("*.h")])]
    VARIANTS.mkdir(parents=True, exist_ok=True)
    for name, (vector, flags) in instruction_sets().items():
        for precision in ("float32", "float64"):
            source = VARIANTS / f"_{name}_{precision}.pyx"
            if not source.exists():
                source.write_text('include "kernels.pxi"\n')
            yield Extension(
                f"emcore._{name}_{precision}",
                [str(source)],
                include_dirs=[str(SOURCES)],
                define_macros=[
                    ("EMCORE_VECTOR", str(vector)),
                    *([] if is_msvc() else [ALWAYS_INLINE]),
                ]
                + ([("EMCORE_FLOAT32", None)] if precision == "float32" else []),
                extra_compile_args=optimise + flags + compile_openmp,
                extra_link_args=link_openmp,
                depends=headers,
            )
    yield Extension(
        "emcore._runtime",
        [str(SOURCES / "_runtime.pyx")],
        include_dirs=[str(SOURCES)],
        extra_compile_args=optimise + compile_openmp,
        extra_link_args=link_openmp,
        depends=headers,
    )


class BuildKernels(build_ext):
    """build_ext that first proves that OpenMP compiles, links and runs."""

    def build_extensions(self):
        # Objects compiled with other flags must not be linked with these.
        flags = repr(
            [(extension.name, extension.extra_compile_args) for extension in self.extensions]
        )
        stamp = Path("build/flags.txt")
        self.force = self.force or not stamp.exists() or stamp.read_text() != flags
        if not WITHOUT_OPENMP:
            self.probe_openmp()
        super().build_extensions()
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(flags)

    def probe_openmp(self):
        compile_flags, link_flags = openmp_flags()
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(OPENMP_PROBE)
            try:
                objects = self.compiler.compile(
                    [str(source)], output_dir=folder, extra_postargs=compile_flags
                )
                self.compiler.link_executable(
                    objects, "probe", output_dir=folder, extra_postargs=link_flags
                )
                subprocess.run([str(Path(folder, "probe"))], check=True)
            except (CompileError, LinkError, OSError, subprocess.CalledProcessError) as error:
                raise PlatformError(
                    "emfast: a small OpenMP program could not be compiled and run with the "
                    f"flags {compile_flags + link_flags}. Install OpenMP for your compiler (macOS: "
                    "libomp), or set EMFAST_BUILD_WITHOUT_OPENMP=1 for single-threaded kernels."
                ) from error


setup(
    ext_modules=cythonize(
        list(extensions()),
        include_path=[str(SOURCES)],
        build_dir="build/cython",
        compiler_directives=DIRECTIVES,
    ),
    cmdclass={"build_ext": BuildKernels},
    options={"build_ext": {"parallel": os.cpu_count()}},
)
