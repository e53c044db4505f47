"""What the machine has: instruction set level and OpenMP threads."""

cdef extern from "cpu.h" nogil:
    int x86_64_level()

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define EMCORE_OPENMP _OPENMP
    #else
    #define EMCORE_OPENMP 0
    static int omp_get_max_threads(void) { return 1; }
    #endif
    """
    int omp_get_max_threads() nogil
    int EMCORE_OPENMP


def cpu_level():
    """The x86-64 microarchitecture level of this processor: 4, 3, 2, or 0 for none of them."""
    return x86_64_level()


def openmp_version():
    """Date (yyyymm) of the OpenMP standard this was compiled for; 0 without OpenMP."""
    return EMCORE_OPENMP


def openmp_max_threads():
    """Threads that OpenMP would start now: from OMP_NUM_THREADS, a limit set at run time, or the CPUs."""
    return omp_get_max_threads()
