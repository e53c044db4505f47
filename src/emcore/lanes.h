/* What Cython cannot say: vectors of rows, and exp and log over them.
 *
 * `real` is the type the rows are computed in; `vreal` is LANES of them, one row in each
 * lane. GCC and Clang compile arithmetic on `vreal` to the widest vectors the instruction set
 * has; another compiler gets LANES = 1 and the same source.
 *
 * EMCORE_FLOAT32     defined for the single-precision build
 * EMCORE_VECTOR      bytes of a vector register (64, 32 or 16)
 */
#ifndef EMCORE_LANES_H
#define EMCORE_LANES_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#ifdef EMCORE_FLOAT32
typedef float real;
typedef int32_t bits;
typedef uint32_t ubits;
#define REAL(x) x##f
#define MANTISSA_BITS 23
#define EXPONENT_BIAS 127
#define ROUNDING_MAGIC 12582912.0f              /* 1.5 * 2^23: adding it rounds to an integer */
#define LN2_HIGH 0.693359375f
#define LN2_LOW (-2.12194440054690583e-4f)
#define LOWEST (-3.0e38f)
#else
typedef double real;
typedef int64_t bits;
typedef uint64_t ubits;
#define REAL(x) x
#define MANTISSA_BITS 52
#define EXPONENT_BIAS 1023
#define ROUNDING_MAGIC 6755399441055744.0       /* 1.5 * 2^52 */
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define LOWEST (-1.0e308)
#endif

#if defined(__GNUC__) || defined(__clang__)
#define EMCORE_INLINE static inline __attribute__((always_inline, unused))
#define EMCORE_HAS_VECTORS 1
#else
#define EMCORE_INLINE static __inline
#define EMCORE_HAS_VECTORS 0
#endif

#if EMCORE_HAS_VECTORS
typedef real vreal __attribute__((vector_size(EMCORE_VECTOR), may_alias));
typedef bits vbits __attribute__((vector_size(EMCORE_VECTOR)));
enum { LANES = EMCORE_VECTOR / sizeof(real) };
EMCORE_INLINE vreal splat(real a) { return a - (vreal){0}; }
#else
typedef real vreal;
typedef bits vbits;
enum { LANES = 1 };
EMCORE_INLINE vreal splat(real a) { return a; }
#endif

/* exp of it is lost beside 1 in double precision. The same in single precision, where it is far below
   rounding: a component of little weight may have nothing but such terms, and would starve. */
#define NEGLIGIBLE REAL(-37.0)

/* Vectors of rows that a log-density kernel holds in registers at a time. */
enum { VECTORS = 4, ALIGNMENT = 64 };

/* Columns by which an accumulation kernel is blocked: as the registers allow. */
#if EMCORE_VECTOR == 64
enum { COLUMNS = 8 };
#else
enum { COLUMNS = 4 };
#endif

EMCORE_INLINE vbits vreal_bits(vreal a) { vbits b; memcpy(&b, &a, sizeof b); return b; }
EMCORE_INLINE vreal bits_vreal(vbits b) { vreal a; memcpy(&a, &b, sizeof a); return a; }

#if EMCORE_HAS_VECTORS
EMCORE_INLINE vreal vselect(vbits mask, vreal a, vreal b)
{
    return bits_vreal((vreal_bits(a) & mask) | (vreal_bits(b) & ~mask));
}
#define VGREATER(a, b) ((vbits)((a) > (b)))
#else
EMCORE_INLINE vreal vselect(vbits mask, vreal a, vreal b) { return mask ? a : b; }
#define VGREATER(a, b) ((vbits)-((a) > (b)))
#endif

/* The larger of two; b where a is not a number. */
EMCORE_INLINE vreal vmax(vreal a, vreal b) { return vselect(VGREATER(a, b), a, b); }

/* a where condition > threshold, else b. */
EMCORE_INLINE vreal vwhere_greater(vreal condition, vreal threshold, vreal a, vreal b)
{
    return vselect(VGREATER(condition, threshold), a, b);
}

/* exp(x) where x > threshold, else 0; for threshold >= -708 (-87 in single precision), x <= 709 (88).
 *
 *   exp(x) = 2^n exp(r),  n = round(x / ln 2),  |r| <= ln(2) / 2
 *
 * exp(r) = 1 + r + r^2 q(r), q a Chebyshev fit whose error is below 2e-17 (8e-9).
 */
EMCORE_INLINE vreal vexp_above(vreal x, real threshold)
{
    const vreal magic = splat(ROUNDING_MAGIC);
    vreal clipped = vmax(x, splat(threshold));
    vreal shifted = clipped * REAL(1.44269504088896340736) + magic;
    vreal n = shifted - magic;
    vreal r = (clipped - n * LN2_HIGH) - n * LN2_LOW;
#ifdef EMCORE_FLOAT32
    vreal q = r * 0.0013926176f + 0.0083631731f;
    q = q * r + 0.041666555f;
    q = q * r + 0.16666577f;
    q = q * r + 0.5f;
#else
    vreal q = r * 2.5100375832561233664e-8 + 2.7620075879983366586e-7;
    q = q * r + 2.7557268480310025526e-6;
    q = q * r + 2.4801521322368693266e-5;
    q = q * r + 1.9841269863040545271e-4;
    q = q * r + 1.3888888917196719077e-3;
    q = q * r + 8.3333333333300644495e-3;
    q = q * r + 4.1666666666624161903e-2;
    q = q * r + 0.16666666666666667452;
    q = q * r + 0.50000000000000010211;
#endif
    vreal p = (q * r) * r + r + REAL(1.0);
    vbits scaled = vreal_bits(p) + (vbits)(vreal_bits(shifted) << MANTISSA_BITS);
    return vselect(VGREATER(x, splat(threshold)), bits_vreal(scaled), splat(REAL(0.0)));
}

/* log(x) for normal positive x.
 *
 *   log(x) = n ln 2 + log(m),  m in [sqrt(1/2), sqrt(2)),  f = (m - 1) / (m + 1)
 *   log(m) = 2 artanh(f) = 2 f + f^3 g(f^2),  g a Chebyshev fit
 */
EMCORE_INLINE vreal vlog(vreal x)
{
    /* Subtracting the bits of sqrt(1/2) makes the exponent field count from there. */
#ifdef EMCORE_FLOAT32
    const bits half = 0x3f3504f3;
#else
    const bits half = 0x3fe6a09e667f3bcd;
#endif
    vbits offset = vreal_bits(x) - half;
    vbits exponent = offset >> MANTISSA_BITS;
    vreal m = bits_vreal(vreal_bits(x) - (vbits)(exponent << MANTISSA_BITS));
    /* An integer below 2^MANTISSA_BITS added to the bits of the magic number is that number
       plus the integer. */
    vreal n = bits_vreal(exponent + vreal_bits(splat(ROUNDING_MAGIC))) - splat(ROUNDING_MAGIC);
    vreal f = (m - REAL(1.0)) / (m + REAL(1.0));
    vreal z = f * f;
#ifdef EMCORE_FLOAT32
    vreal g = z * 0.29579949f + 0.39988781f;
    g = g * z + 0.66666685f;
#else
    vreal g = z * 0.1461644968504340586 + 0.15331721600556041269;
    g = g * z + 0.1818288912526172208;
    g = g * z + 0.22222211134795079855;
    g = g * z + 0.28571428625975484921;
    g = g * z + 0.3999999999989950449;
    g = g * z + 0.66666666666666696862;
#endif
    vreal f2 = f + f;
    return n * LN2_HIGH + (f2 + (f * z * g + n * LN2_LOW));
}

/* Pairwise exchange between two vectors, lane j with lane j ^ w: the step of a transpose.
 *
 *   low  lane j is a[j] where j & w is 0, else b[j ^ w]
 *   high lane j is a[j ^ w] where j & w is 0, else b[j]
 */
#if EMCORE_HAS_VECTORS
#define LOW_INDEX(j, w) ((j) & (w) ? LANE_COUNT + ((j) ^ (w)) : (j))
#define HIGH_INDEX(j, w) ((j) & (w) ? LANE_COUNT + (j) : ((j) ^ (w)) % LANE_COUNT)
#define INDEX_2(f, j, w) f(j, w), f((j) + 1, w)
#define INDEX_4(f, j, w) INDEX_2(f, j, w), INDEX_2(f, (j) + 2, w)
#define INDEX_8(f, j, w) INDEX_4(f, j, w), INDEX_4(f, (j) + 4, w)
#define INDEX_16(f, j, w) INDEX_8(f, j, w), INDEX_8(f, (j) + 8, w)
#ifdef EMCORE_FLOAT32
#define LANE_COUNT (EMCORE_VECTOR / 4)
#else
#define LANE_COUNT (EMCORE_VECTOR / 8)
#endif
#if EMCORE_VECTOR == 64 && defined(EMCORE_FLOAT32)
#define INDICES(f, w) INDEX_16(f, 0, w)
#elif EMCORE_VECTOR == 64 || (EMCORE_VECTOR == 32 && defined(EMCORE_FLOAT32))
#define INDICES(f, w) INDEX_8(f, 0, w)
#elif EMCORE_VECTOR == 32 || defined(EMCORE_FLOAT32)
#define INDICES(f, w) INDEX_4(f, 0, w)
#else
#define INDICES(f, w) INDEX_2(f, 0, w)
#endif
#if defined(__clang__) || __GNUC__ >= 12
#define VSHUFFLE(a, b, f, w) __builtin_shufflevector(a, b, INDICES(f, w))
#else
#define VSHUFFLE(a, b, f, w) __builtin_shuffle(a, b, (vbits){INDICES(f, w)})
#endif
#define TRANSPOSE_STEP(w)                                                    \
    if (w < LANES)                                                           \
        for (int i = 0; i < LANES; i++)                                      \
            if (!(i & w)) {                                                  \
                vreal low = VSHUFFLE(a[i], a[(i + w) % LANES], LOW_INDEX, w);          \
                a[(i + w) % LANES] = VSHUFFLE(a[i], a[(i + w) % LANES], HIGH_INDEX, w); \
                a[i] = low;                                                  \
            }
#define REDUCE_STEP(w)                                                       \
    if (w < LANES)                                                           \
        for (int i = 0; i < LANES / (2 * w); i++)                            \
            a[i] = VSHUFFLE(a[2 * i], a[(2 * i + 1) % LANES], LOW_INDEX, w)  \
                + VSHUFFLE(a[2 * i], a[(2 * i + 1) % LANES], HIGH_INDEX, w);
#endif

/* Transpose LANES vectors of LANES lanes in place. */
EMCORE_INLINE void vtranspose(vreal *a)
{
#if EMCORE_HAS_VECTORS
    TRANSPOSE_STEP(1)
    TRANSPOSE_STEP(2)
    TRANSPOSE_STEP(4)
    TRANSPOSE_STEP(8)
#endif
}

/* The sums over lanes of LANES vectors, as the lanes of one: LANES - 1 additions in all. */
EMCORE_INLINE vreal vreduce(vreal *a)
{
#if EMCORE_HAS_VECTORS
    REDUCE_STEP(1)
    REDUCE_STEP(2)
    REDUCE_STEP(4)
    REDUCE_STEP(8)
#endif
    return a[0];
}

/* Sum over the lanes of one vector. */
EMCORE_INLINE double vsum(vreal a)
{
    vreal all[LANES];
    for (int i = 0; i < LANES; i++)
        all[i] = a;
    real lane[LANES];
    a = vreduce(all);
    memcpy(lane, &a, sizeof a);
    return lane[0];
}

/* How many lanes of a are positive. */
EMCORE_INLINE int vcount_positive(vreal a)
{
#if EMCORE_HAS_VECTORS
    vbits mask = VGREATER(a, splat(0));
#if defined(__AVX512DQ__) && EMCORE_VECTOR == 64
#ifdef EMCORE_FLOAT32
    return __builtin_popcount(_mm512_movepi32_mask((__m512i)mask));
#else
    return __builtin_popcount(_mm512_movepi64_mask((__m512i)mask));
#endif
#elif defined(__AVX__) && EMCORE_VECTOR == 32
    return __builtin_popcount(_mm256_movemask_epi8((__m256i)mask)) / (int)sizeof(real);
#elif defined(__SSE2__) && EMCORE_VECTOR == 16
    return __builtin_popcount(_mm_movemask_epi8((__m128i)mask)) / (int)sizeof(real);
#else
    bits count = 0;
    for (int i = 0; i < LANES; i++)
        count -= mask[i];
    return (int)count;
#endif
#else
    return a > 0;
#endif
}

/* LANES adjacent numbers from memory of any alignment. */
EMCORE_INLINE vreal vload(const real *from)
{
    vreal a;
    memcpy(&a, from, sizeof a);
    return a;
}

EMCORE_INLINE vreal vload_bytes(const unsigned char *from)
{
#if EMCORE_HAS_VECTORS
    typedef unsigned char vbytes __attribute__((vector_size(LANE_COUNT)));
    vbytes a;
    memcpy(&a, from, sizeof a);
    return __builtin_convertvector(a, vreal);
#else
    return *from;
#endif
}

/* Zeroed memory on a cache-line boundary; NULL where there is none. */
EMCORE_INLINE void *lanes_alloc(size_t bytes, void **handle)
{
    *handle = calloc(bytes + ALIGNMENT, 1);
    if (*handle == NULL)
        return NULL;
    return (void *)(((uintptr_t)*handle + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1));
}

#endif
