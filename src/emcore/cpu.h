/* Which x86-64 level this processor and operating system run: 4, 3, 2, or 0 elsewhere.
 *
 * A level has all the features that compilers use for it (System V ABI, AMD64 supplement, 3.1.1): those
 * that not every compiler names come from the processor itself.
 */
#ifndef EMCORE_CPU_H
#define EMCORE_CPU_H

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <cpuid.h>

/* Whether all of these bits are set in register ECX of a leaf. */
static int cpuid_has(unsigned leaf, unsigned bits)
{
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(leaf, &eax, &ebx, &ecx, &edx) && (ecx & bits) == bits;
}

static int x86_64_level(void)
{
    const unsigned cx16 = 1u << 13, movbe = 1u << 22, f16c = 1u << 29;    /* leaf 1 */
    const unsigned lahf = 1u << 0, lzcnt = 1u << 5;                       /* leaf 0x80000001 */
    __builtin_cpu_init();
    if (!(__builtin_cpu_supports("sse3") && __builtin_cpu_supports("ssse3")
          && __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("sse4.2")
          && __builtin_cpu_supports("popcnt")
          && cpuid_has(1, cx16) && cpuid_has(0x80000001, lahf)))
        return 0;
    /* What is named here needs registers that the operating system must save, and that is looked at. */
    if (!(__builtin_cpu_supports("avx") && __builtin_cpu_supports("avx2")
          && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi")
          && __builtin_cpu_supports("bmi2")
          && cpuid_has(1, movbe | f16c) && cpuid_has(0x80000001, lzcnt)))
        return 2;
    if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
          && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
          && __builtin_cpu_supports("avx512vl")))
        return 3;
    return 4;
}
#else
static int x86_64_level(void) { return 0; }
#endif

#endif
