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
typedef ubits vubits __attribute__((vector_size(EMCORE_VECTOR)));
enum { LANES = EMCORE_VECTOR / sizeof(real) };
EMCORE_INLINE vreal splat(real a) { return a - (vreal){0}; }
#else
typedef real vreal;
typedef bits vbits;
typedef ubits vubits;
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

/* Comparison and choice: GCC makes masks of the registers that AVX-512 has for them only where told. */
#ifdef EMCORE_FLOAT32
#define TYPED(name) name##ps
#else
#define TYPED(name) name##pd
#endif
#if EMCORE_VECTOR == 64 && defined(__AVX512DQ__)
#ifdef EMCORE_FLOAT32
typedef __mmask16 vmask;
#define VGREATER(a, b) _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ)
#else
typedef __mmask8 vmask;
#define VGREATER(a, b) _mm512_cmp_pd_mask(a, b, _CMP_GT_OQ)
#endif
EMCORE_INLINE vreal vselect(vmask mask, vreal a, vreal b)
{
    return TYPED(_mm512_mask_blend_)(mask, b, a);
}
EMCORE_INLINE vreal vmax(vreal a, vreal b) { return TYPED(_mm512_max_)(a, b); }
#elif EMCORE_HAS_VECTORS
typedef vbits vmask;
#define VGREATER(a, b) ((vbits)((a) > (b)))
EMCORE_INLINE vreal vselect(vmask mask, vreal a, vreal b)
{
    return bits_vreal((vreal_bits(a) & mask) | (vreal_bits(b) & ~mask));
}
#if defined(__AVX__) && EMCORE_VECTOR == 32
EMCORE_INLINE vreal vmax(vreal a, vreal b) { return TYPED(_mm256_max_)(a, b); }
#elif defined(__SSE2__) && EMCORE_VECTOR == 16
EMCORE_INLINE vreal vmax(vreal a, vreal b) { return TYPED(_mm_max_)(a, b); }
#else
EMCORE_INLINE vreal vmax(vreal a, vreal b) { return vselect(VGREATER(a, b), a, b); }
#endif
#else
typedef int vmask;
#define VGREATER(a, b) (-((a) > (b)))
EMCORE_INLINE vreal vselect(vmask mask, vreal a, vreal b) { return mask ? a : b; }
EMCORE_INLINE vreal vmax(vreal a, vreal b) { return a > b ? a : b; }
#endif

/* vmax is the larger of two; b where a is not a number. */

/* a where condition > threshold, else b. */
EMCORE_INLINE vreal vwhere_greater(vreal condition, vreal threshold, vreal a, vreal b)
{
    return vselect(VGREATER(condition, threshold), a, b);
}

/* Which lanes of a are positive, a bit for each. */
EMCORE_INLINE unsigned vpositive_lanes(vreal a)
{
#if EMCORE_VECTOR == 64 && defined(__AVX512DQ__)
    return VGREATER(a, splat(0));
#elif defined(__AVX__) && EMCORE_VECTOR == 32 && defined(EMCORE_FLOAT32)
    return _mm256_movemask_ps((__m256)VGREATER(a, splat(0)));
#elif defined(__AVX__) && EMCORE_VECTOR == 32
    return _mm256_movemask_pd((__m256d)VGREATER(a, splat(0)));
#elif defined(__SSE2__) && EMCORE_VECTOR == 16 && defined(EMCORE_FLOAT32)
    return _mm_movemask_ps((__m128)VGREATER(a, splat(0)));
#elif defined(__SSE2__) && EMCORE_VECTOR == 16
    return _mm_movemask_pd((__m128d)VGREATER(a, splat(0)));
#else
    real lane[LANES];
    unsigned positive = 0;
    memcpy(lane, &a, sizeof a);
    for (int i = 0; i < LANES; i++)
        positive |= (unsigned)(lane[i] > 0) << i;
    return positive;
#endif
}

/* The positive lanes of a, one after another, and their numbers from `first` on. How many there are;
   LANES numbers are written. */
EMCORE_INLINE int vlist_positive(vreal a, int32_t first, real *values, int32_t *numbers)
{
#if EMCORE_VECTOR == 64 && defined(__AVX512DQ__)
    vmask positive = VGREATER(a, splat(0));
#ifdef EMCORE_FLOAT32
    __m512i number = _mm512_add_epi32(
        _mm512_set1_epi32(first),
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    _mm512_storeu_ps(values, _mm512_maskz_compress_ps(positive, a));
    _mm512_storeu_si512(numbers, _mm512_maskz_compress_epi32(positive, number));
#else
    __m256i number = _mm256_add_epi32(
        _mm256_set1_epi32(first), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    _mm512_storeu_pd(values, _mm512_maskz_compress_pd(positive, a));
    _mm256_storeu_si256((__m256i *)numbers, _mm256_maskz_compress_epi32(positive, number));
#endif
    return __builtin_popcount(positive);
#else
    real lane[LANES];
    int n = 0;
    memcpy(lane, &a, sizeof a);
    for (int i = 0; i < LANES; i++) {
        values[n] = lane[i];
        numbers[n] = first + i;
        n += lane[i] > 0;
    }
    return n;
#endif
}

/* In each lane, one more where a > threshold. */
EMCORE_INLINE vbits vcount_above(vbits count, vreal a, real threshold)
{
#if EMCORE_VECTOR == 64 && defined(__AVX512DQ__)
#ifdef EMCORE_FLOAT32
    return (vbits)_mm512_mask_add_epi32(
        (__m512i)count, VGREATER(a, splat(threshold)), (__m512i)count, _mm512_set1_epi32(1));
#else
    return (vbits)_mm512_mask_add_epi64(
        (__m512i)count, VGREATER(a, splat(threshold)), (__m512i)count, _mm512_set1_epi64(1));
#endif
#else
    return count - (vbits)VGREATER(a, splat(threshold));
#endif
}

EMCORE_INLINE vbits vno_counts(void) { return vreal_bits(splat(0)); }

EMCORE_INLINE int64_t vcount_sum(vbits count)
{
    bits lane[LANES];
    int64_t sum = 0;
    memcpy(lane, &count, sizeof count);
    for (int i = 0; i < LANES; i++)
        sum += lane[i];
    return sum;
}

/* exp(x) where x > threshold, else 0; for threshold >= -708 (-87 in single precision), x <= 709 (88).
 * What is computed for lanes below the threshold, be it no number, is not looked at: sums of bits are
 * unsigned, which may overflow.
 *
 *   exp(x) = 2^n exp(r),  n = round(x / ln 2),  |r| <= ln(2) / 2
 *
 * exp(r) = 1 + r + r^2 q(r), q a Chebyshev fit whose error is below 2e-17 (8e-9), in an order of
 * short chains: many of these are under way at a time, and each waits for its operands.
 */
#if EMCORE_VECTOR == 64 && defined(__AVX512DQ__) && !defined(EMCORE_FLOAT32)
/* Where 16 numbers are looked up by an instruction, n counts sixteenths: |r| <= ln(2) / 32, and q has
 * half the terms (error below 3e-17). Entry j is 2^(j/16) less j << 48 in its bits, so that adding
 * n << 48 makes it 2^(n/16). */
static const bits POWERS[16] __attribute__((aligned(64))) = {
    0x3ff0000000000000, 0x3fefb5586cf9890f, 0x3fef72b83c7d517b, 0x3fef387a6e756238,
    0x3fef06fe0a31b715, 0x3feedea64c123422, 0x3feebfdad5362a27, 0x3feeab07dd485429,
    0x3feea09e667f3bcd, 0x3feea11473eb0187, 0x3feeace5422aa0db, 0x3feec49182a3f090,
    0x3feee89f995ad3ad, 0x3fef199bdd85529c, 0x3fef5818dcfba487, 0x3fefa4afa2a490da,
};

EMCORE_INLINE vreal vexp_above(vreal x, real threshold)
{
    const vreal magic = splat(ROUNDING_MAGIC);
    vreal shifted = x * 23.083120654223414 + magic;
    vreal n = shifted - magic;
    vreal r = (x - n * 0.04332169878489367) - n * 1.0291218489310676e-13;
    vreal r2 = r * r;
    vreal q01 = r * 0.1666666666530169 + 0.5;
    vreal q23 = r * 0.008333449701253456 + 0.04166666666496045;
    vreal p = r2 * (q01 + r2 * (q23 + r2 * 0.0013889034348599464)) + r;
    vubits power = (vubits)_mm512_permutex2var_epi64(
        _mm512_load_epi64(POWERS), (__m512i)vreal_bits(shifted), _mm512_load_epi64(POWERS + 8));
    vreal scale = bits_vreal((vbits)(power + ((vubits)vreal_bits(shifted) << 48)));
    return _mm512_maskz_mov_pd(VGREATER(x, splat(threshold)), scale * p + scale);
}
#else
EMCORE_INLINE vreal vexp_above(vreal x, real threshold)
{
    const vreal magic = splat(ROUNDING_MAGIC);
    vreal shifted = x * REAL(1.44269504088896340736) + magic;
    vreal n = shifted - magic;
    vreal r = (x - n * LN2_HIGH) - n * LN2_LOW;
    vreal r2 = r * r;
    vreal q01, q23;
#ifdef EMCORE_FLOAT32
    q01 = r * 0.16666577f + 0.5f;
    q23 = r * 0.0083631731f + 0.041666555f;
    vreal q = q01 + r2 * (q23 + r2 * 0.0013926176f);
#else
    vreal r4 = r2 * r2;
    q01 = r * 0.16666666666666667452 + 0.50000000000000010211;
    q23 = r * 8.3333333333300644495e-3 + 4.1666666666624161903e-2;
    vreal q45 = r * 1.9841269863040545271e-4 + 1.3888888917196719077e-3;
    vreal q67 = r * 2.7557268480310025526e-6 + 2.4801521322368693266e-5;
    vreal q89 = r * 2.5100375832561233664e-8 + 2.7620075879983366586e-7;
    vreal q = (q01 + r2 * q23) + r4 * ((q45 + r2 * q67) + r4 * q89);
#endif
    vreal p = (r2 * q + r) + REAL(1.0);
    vubits scaled = (vubits)vreal_bits(p) + ((vubits)vreal_bits(shifted) << MANTISSA_BITS);
    return vselect(VGREATER(x, splat(threshold)), bits_vreal((vbits)scaled), splat(REAL(0.0)));
}
#endif

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
#define LANE_INDEX(j, w) (j)
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
#define TRANSPOSE_STEP(w, n)                                                 \
    if (w < n)                                                               \
        for (int i = 0; i < n; i++)                                          \
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
    TRANSPOSE_STEP(1, LANES)
    TRANSPOSE_STEP(2, LANES)
    TRANSPOSE_STEP(4, LANES)
    TRANSPOSE_STEP(8, LANES)
#endif
}

/* Transpose both halves of LANES / 2 vectors in place, each by itself. */
EMCORE_INLINE void vtranspose_halves(vreal *a)
{
#if EMCORE_HAS_VECTORS
    TRANSPOSE_STEP(1, LANES / 2)
    TRANSPOSE_STEP(2, LANES / 2)
    TRANSPOSE_STEP(4, LANES / 2)
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

/* LANES adjacent numbers from memory of any alignment. */
EMCORE_INLINE vreal vload(const real *from)
{
    vreal a;
    memcpy(&a, from, sizeof a);
    return a;
}

/* A vector of two halves, each LANES / 2 adjacent numbers from memory of any alignment. */
EMCORE_INLINE vreal vload_halves(const real *low, const real *high)
{
#if EMCORE_HAS_VECTORS && (defined(__clang__) || __GNUC__ >= 12)
    typedef real vhalf __attribute__((vector_size(EMCORE_VECTOR / 2)));
    vhalf first, second;
    memcpy(&first, low, sizeof first);
    memcpy(&second, high, sizeof second);
    return __builtin_shufflevector(first, second, INDICES(LANE_INDEX, 0));
#else
    real lanes[LANES];
    memcpy(lanes, low, sizeof lanes / 2);
    memcpy(lanes + LANES / 2, high, sizeof lanes / 2);
    return vload(lanes);
#endif
}

/* Ask for memory that will be read soon. */
EMCORE_INLINE void prefetch(const char *from)
{
#if EMCORE_HAS_VECTORS
    __builtin_prefetch(from, 0, 3);
#else
    (void)from;
#endif
}

EMCORE_INLINE void vstore(real *to, vreal a) { memcpy(to, &a, sizeof a); }

/* out[lane] += a[lane] in double precision. */
EMCORE_INLINE void vadd_to(double *out, vreal a)
{
#if EMCORE_HAS_VECTORS
    typedef double vdouble __attribute__((vector_size(LANE_COUNT * 8)));
    vdouble sum;
    memcpy(&sum, out, sizeof sum);
    sum += __builtin_convertvector(a, vdouble);
    memcpy(out, &sum, sizeof sum);
#else
    *out += a;
#endif
}

/* The same of the first n lanes. */
EMCORE_INLINE void vadd_first_to(double *out, vreal a, int n)
{
#if EMCORE_VECTOR == 64 && defined(__AVX512F__)
    unsigned lanes = (1u << n) - 1;
#ifdef EMCORE_FLOAT32
    __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(a));
    __m512d high = _mm512_cvtps_pd(_mm512_castps512_ps256(_mm512_shuffle_f32x4(a, a, 0xee)));
    low = _mm512_add_pd(_mm512_maskz_loadu_pd((__mmask8)lanes, out), low);
    high = _mm512_add_pd(_mm512_maskz_loadu_pd((__mmask8)(lanes >> 8), out + 8), high);
    _mm512_mask_storeu_pd(out, (__mmask8)lanes, low);
    _mm512_mask_storeu_pd(out + 8, (__mmask8)(lanes >> 8), high);
#else
    __m512d sum = _mm512_add_pd(_mm512_maskz_loadu_pd((__mmask8)lanes, out), a);
    _mm512_mask_storeu_pd(out, (__mmask8)lanes, sum);
#endif
#else
    if (n == LANES) {
        vadd_to(out, a);
        return;
    }
    const real *lane = (const real *)&a;
    for (int h = 0; h < n; h++)
        out[h] += lane[h];
#endif
}

/* Binary numbers as bits, and tables of 16 numbers. LOOKUPS tells whether a table is looked up by the
   lowest four bits of every lane in one instruction; elsewhere vlookup is only there to compile. */
#if EMCORE_VECTOR == 64 && defined(__AVX512BW__)
enum { LOOKUPS = 1 };
#define EMCORE_LOOKUPS 1
#else
enum { LOOKUPS = 0 };
#define EMCORE_LOOKUPS 0
#endif
enum { WORD_BITS = 8 * sizeof(real), NIBBLES = WORD_BITS / 4, WORD_VECTORS = WORD_BITS / LANES };

EMCORE_INLINE vreal vlookup(const real *table, vbits index)
{
#if EMCORE_LOOKUPS && defined(EMCORE_FLOAT32)
    return _mm512_permutexvar_ps((__m512i)index, _mm512_load_ps(table));
#elif EMCORE_LOOKUPS
    return _mm512_permutex2var_pd(
        _mm512_load_pd(table), (__m512i)index, _mm512_load_pd(table + LANES));
#else
    bits number[LANES];
    real found[LANES];
    vreal result;
    memcpy(number, &index, sizeof index);
    for (int i = 0; i < LANES; i++)
        found[i] = table[number[i] & 15];
    memcpy(&result, found, sizeof result);
    return result;
#endif
}

EMCORE_INLINE vbits vnext_index(vbits index) { return index >> 4; }

/* n <= WORD_BITS bytes as bits: whether they are not 0. */
EMCORE_INLINE bits word_of_bytes(const unsigned char *from, int n)
{
#if EMCORE_LOOKUPS && defined(EMCORE_FLOAT32)
    __mmask32 there = n == 32 ? ~(__mmask32)0 : ((__mmask32)1 << n) - 1;
    __m256i bytes = _mm256_maskz_loadu_epi8(there, from);
    return (bits)_mm256_test_epi8_mask(bytes, bytes);
#elif EMCORE_LOOKUPS
    __mmask64 there = n == 64 ? ~(__mmask64)0 : ((__mmask64)1 << n) - 1;
    __m512i bytes = _mm512_maskz_loadu_epi8(there, from);
    return (bits)_mm512_test_epi8_mask(bytes, bytes);
#else
    ubits word = 0;
    int i = 0;
#if defined(__SSE2__)
    for (; i + 16 <= n; i += 16) {
        __m128i zero = _mm_cmpeq_epi8(
            _mm_loadu_si128((const __m128i *)(from + i)), _mm_setzero_si128());
        word |= (ubits)(~_mm_movemask_epi8(zero) & 0xffff) << i;
    }
#endif
    for (; i < n; i++)
        word |= (ubits)(from[i] != 0) << i;
    return (bits)word;
#endif
}

/* n <= WORD_BITS numbers as bits: whether they differ, from themselves (if not a number) or from 0. */
EMCORE_INLINE bits word_of_unequal(const real *from, int n, int to_themselves)
{
    ubits word = 0;
    int i = 0;
#if EMCORE_LOOKUPS
    for (; i + LANES <= n; i += LANES) {
        vreal a;
        memcpy(&a, from + i, sizeof a);
#ifdef EMCORE_FLOAT32
        word |= (ubits)_mm512_cmp_ps_mask(a, to_themselves ? a : splat(0), _CMP_NEQ_UQ) << i;
#else
        word |= (ubits)_mm512_cmp_pd_mask(a, to_themselves ? a : splat(0), _CMP_NEQ_UQ) << i;
#endif
    }
#endif
    for (; i < n; i++)
        word |= (ubits)(from[i] != (to_themselves ? from[i] : 0)) << i;
    return (bits)word;
}

/* Whether they are not 0. */
EMCORE_INLINE bits word_of_reals(const real *from, int n)
{
    return word_of_unequal(from, n, 0);
}

/* Whether they are missing: not a number. */
EMCORE_INLINE bits word_of_missing(const real *from, int n)
{
    return word_of_unequal(from, n, 1);
}

/* WORD_BITS words of as many bits, transposed in place: bit j of word i becomes bit i of word j. Blocks
   of halving size change places, between vectors first and between lanes then. */
EMCORE_INLINE void transpose_bits(vbits *a)
{
#if EMCORE_LOOKUPS
    typedef ubits vubits __attribute__((vector_size(EMCORE_VECTOR)));
    ubits low = ~(ubits)0;
    for (int size = WORD_BITS / 2; size >= LANES; size /= 2) {
        int w = size / LANES;
        low ^= low << size;
        for (int i = 0; i < WORD_VECTORS; i++)
            if (!(i & w)) {
                vbits t = ((vbits)((vubits)a[i] >> size) ^ a[i + w]) & (bits)low;
                a[i + w] ^= t;
                a[i] ^= t << size;
            }
    }
    bits number[LANES];
    for (int j = 0; j < LANES; j++)
        number[j] = j;
    vbits lane;
    memcpy(&lane, number, sizeof lane);
    for (int size = LANES / 2; size >= 1; size /= 2) {
        low ^= low << size;
        vbits upper = -((lane & size) >> __builtin_ctz(size));
        for (int i = 0; i < WORD_VECTORS; i++) {
#ifdef EMCORE_FLOAT32
            vbits partner = (vbits)_mm512_permutexvar_epi32((__m512i)(lane ^ size), (__m512i)a[i]);
#else
            vbits partner = (vbits)_mm512_permutexvar_epi64((__m512i)(lane ^ size), (__m512i)a[i]);
#endif
            vbits as_lower = (a[i] & (bits)low) | ((partner & (bits)low) << size);
            vbits as_upper = (a[i] & (bits)~low) | ((vbits)((vubits)partner >> size) & (bits)low);
            a[i] = (as_upper & upper) | (as_lower & ~upper);
        }
    }
#else
    ubits word[WORD_BITS], low = ~(ubits)0;
    memcpy(word, a, sizeof word);
    for (int size = WORD_BITS / 2; size >= 1; size /= 2) {
        low ^= low << size;
        for (int i = 0; i < WORD_BITS; i = (i + size + 1) & ~size) {
            ubits t = ((word[i] >> size) ^ word[i + size]) & low;
            word[i + size] ^= t;
            word[i] ^= t << size;
        }
    }
    memcpy(a, word, sizeof word);
#endif
}

/* Zeroed memory on a cache-line boundary; NULL where there is none. */
EMCORE_INLINE void *lanes_alloc(size_t bytes, void **handle)
{
    *handle = calloc((bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT + ALIGNMENT, 1);
    if (*handle == NULL)
        return NULL;
    return (void *)(((uintptr_t)*handle + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1));
}

#endif
