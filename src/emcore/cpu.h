/* Which x86-64 level this processor and operating system run: 4, 3, 2, or 0 elsewhere. */
#ifndef EMCORE_CPU_H
#define EMCORE_CPU_H

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
static int x86_64_level(void)
{
    __builtin_cpu_init();
    if (!(__builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.2")
          && __builtin_cpu_supports("popcnt")))
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
#else
static int x86_64_level(void) { return 0; }
#endif

#endif
