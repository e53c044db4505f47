/* What the machine can do at most: fused multiply-adds in registers, and reading from memory.
 *
 * Compiled by peak.py once for every instruction set and precision (-DREAL=double or float).
 */
#include <omp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#if defined(__AVX512F__)
enum { WIDTH = 64 };
#elif defined(__AVX__)
enum { WIDTH = 32 };
#else
enum { WIDTH = 16 };
#endif

typedef REAL vector __attribute__((vector_size(WIDTH)));
enum { LANES = WIDTH / sizeof(REAL) };

/* More than latency times throughput of any present processor, and no more than AVX2 has registers
 * for beside the two operands. */
enum { CHAINS = 12 };

static vector splat(REAL value)
{
    vector all;
    for (int lane = 0; lane < LANES; lane++)
        all[lane] = value;
    return all;
}

/* Operations per second of `threads` threads that each do `rounds` times CHAINS multiply-adds, two
 * operations a lane. */
double multiply_add_rate(int threads, int64_t rounds)
{
    double begin = 0, end = 0, sink = 0;
#pragma omp parallel num_threads(threads) reduction(+ : sink)
    {
        vector chain[CHAINS], factor = splat((REAL) 0.999), summand = splat((REAL) 0.001);
        for (int i = 0; i < CHAINS; i++)
            chain[i] = splat((REAL) (0.5 + 0.01 * i));
#pragma omp barrier
#pragma omp master
        begin = omp_get_wtime();
        for (int64_t round = 0; round < rounds; round++)
            for (int i = 0; i < CHAINS; i++)
                chain[i] = chain[i] * factor + summand;
#pragma omp barrier
#pragma omp master
        end = omp_get_wtime();
        for (int i = 0; i < CHAINS; i++)
            sink += chain[i][0];
    }
    /* The sum is compared so that the loops have a use. */
    return sink > 0 ? 2.0 * LANES * CHAINS * (double) rounds * threads / (end - begin) : 0;
}

/* Bytes per second of `threads` threads that read `bytes` of memory, the best of `repeats`; 0 where
 * the memory is not to be had. */
double read_rate(int threads, int64_t bytes, int repeats)
{
    enum { AT_ONCE = 8 };
    int64_t n = bytes / WIDTH / AT_ONCE * AT_ONCE;
    vector *memory = aligned_alloc(WIDTH, (size_t) n * WIDTH);
    double best = 0, sink = 0;
    if (memory == NULL)
        return 0;
    /* Threads touch first what they read later, so that it lies near them. */
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < n; i++)
        memory[i] = splat(1);
    for (int repeat = 0; repeat < repeats; repeat++) {
        double begin = omp_get_wtime();
#pragma omp parallel num_threads(threads) reduction(+ : sink)
        {
            vector total[AT_ONCE];
            for (int j = 0; j < AT_ONCE; j++)
                total[j] = splat(0);
#pragma omp for schedule(static)
            for (int64_t i = 0; i < n; i += AT_ONCE)
                for (int j = 0; j < AT_ONCE; j++)
                    total[j] += memory[i + j];
            for (int j = 0; j < AT_ONCE; j++)
                sink += total[j][0];
        }
        double rate = (double) n * WIDTH / (omp_get_wtime() - begin);
        best = rate > best ? rate : best;
    }
    free(memory);
    return sink > 0 ? best : 0;
}
