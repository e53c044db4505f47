/* Which x86-64 level this processor and operating system run: 4, 3, 2, or 0 elsewhere. */
#ifndef EMCORE_CPU_H
#define EMCORE_CPU_H

#if (defined(__x86_64__) || defined(_M_X64)) && (defined(__GNUC__) || defined(__clang__))
static int x86_64_level(void)
{
    __builtin_cpu_init();
    if (!(__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt")))
        return 0;
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
          && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2")))
        return 2;
    if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
          && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
          && __builtin_cpu_supports("avx512vl")))
        return 3;
    return 4;
}
#elif defined(_M_X64)
#include <immintrin.h>
#include <intrin.h>
static int x86_64_level(void)
{
    int leaf1[4], leaf7[4];
    unsigned long long enabled;
    __cpuid(leaf1, 1);
    __cpuidex(leaf7, 7, 0);
    if (!((leaf1[2] >> 20) & (leaf1[2] >> 23) & 1))     /* SSE4.2, POPCNT */
        return 0;
    if (!((leaf1[2] >> 27) & (leaf1[2] >> 28) & (leaf1[2] >> 12) & 1))  /* OSXSAVE, AVX, FMA */
        return 2;
    enabled = _xgetbv(0);
    if ((enabled & 0x06) != 0x06 || !((leaf7[1] >> 5) & (leaf7[1] >> 3) & (leaf7[1] >> 8) & 1))
        return 2;                                       /* AVX2, BMI1, BMI2 */
    if ((enabled & 0xe6) != 0xe6
        || !((leaf7[1] >> 16) & (leaf7[1] >> 17) & (leaf7[1] >> 28) & (leaf7[1] >> 30)
             & (leaf7[1] >> 31) & 1))                   /* AVX-512 F, DQ, CD, BW, VL */
        return 3;
    return 4;
}
#else
static int x86_64_level(void) { return 0; }
#endif

#endif
