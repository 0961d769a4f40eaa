// Copied by `stepforge build` from templates/c/_stepforge.h. Do not edit. @generated
// clang-format off
/* What the generated C files of this folder share: number formats, the operations that C has under
   other names or not at all, and the loop over tensors, blocks and threads. */
#ifndef STEPFORGE_H
#define STEPFORGE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "_functions.h"

/* Of the rule: it is part of its callers, for which options are constants, and its elements do not
   depend on each other. */
#define STEPFORGE_INLINE static inline __attribute__((always_inline))
#define STEPFORGE_LOOP _Pragma("omp simd")

/* Number formats of tensors. 16-bit ones are computed in float. */
enum { STEPFORGE_FLOAT32, STEPFORGE_FLOAT64, STEPFORGE_BFLOAT16, STEPFORGE_FLOAT16 };

/* The rounding of operations must be that of the code as it is written. */
#if defined(__FAST_MATH__) || (defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0)
#error "the bits of a step are defined without -ffast-math and with float computed as float"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

enum { STEPFORGE_LOADED = 1, STEPFORGE_STORED = 2 };

/* A kernel as `stepforge_step` takes it.

   tensors: How many tensors a parameter has, itself included: the first one is p.
   access: What is done with each of them, STEPFORGE_LOADED, STEPFORGE_STORED or both.
   float32, float64: Step n elements; the tensors are all of this type. What options leave out is
   NULL. `stored` is the format of p, which may be narrower. */
struct stepforge_kernel {
    int tensors;
    const unsigned char *access;
    void (*float32)(int64_t n, void *const *at, const double *numbers, unsigned options,
                    int stored);
    void (*float64)(int64_t n, void *const *at, const double *numbers, unsigned options,
                    int stored);
};

/* One step of all tensors.

   kernel: What is computed.
   rows: For every parameter the addresses of its tensors, 0 for what options leave out, and behind
   them its number of elements.
   count: How many parameters there are.
   types: The format of the tensors of every column.
   numbers: What the host has computed for this step.
   options: A bit for every option of the optimizer.
   threads: How many threads may work, the caller included. They are started once and kept. No
   thread works on fewer than 65536 elements. The results are the same for every number.

   Returns 0, or -1 where a type is no number format; nothing has been written then. */
int stepforge_step(const struct stepforge_kernel *kernel, const void *rows, int64_t count,
                   const unsigned char *types, const double *numbers, unsigned options,
                   int threads);

/* Adds 1 to numbers that lie anywhere, such as counters of steps: floats, or doubles if wide. */
void stepforge_count(void *const *counters, int64_t count, int wide);

/* bfloat16 is the upper half of a float. A NaN stays one: its upper half gets a bit. */
static inline uint16_t stepforge_bfloat16(float x)
{
    uint32_t bits = bits_of_float32(x);
    uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    uint32_t nan = (bits >> 16) | 0x40;
    return (uint16_t)((bits & 0x7FFFFFFF) > 0x7F800000 ? nan : rounded);
}

static inline float stepforge_of_bfloat16(uint16_t half)
{
    return float32_of_bits((uint32_t)half << 16);
}

/* Numbers below 2**-14 are subnormal in float16: adding 0.5 leaves their bits, rounded, at the
   end. Others lose 13 bits, rounded by an integer sum that may carry into the exponent. */
static inline uint16_t stepforge_float16(float x)
{
    uint32_t bits = bits_of_float32(x);
    uint32_t sign = (bits >> 16) & 0x8000, size = bits & 0x7FFFFFFF;
    float shifted = float32_of_bits(size) + 0.5f;
    uint32_t subnormal = bits_of_float32(shifted) - 0x3F000000;
    uint32_t normal = (size - 0x38000000 + 0xFFF + ((size >> 13) & 1)) >> 13;
    uint32_t finite = size < 0x38800000 ? subnormal : normal;
    uint32_t beyond = size > 0x7F800000 ? 0x7E00 : 0x7C00;
    return (uint16_t)(sign | (size >= 0x47800000 ? beyond : finite));
}

/* Exponent and fraction move to their places; the product corrects the bias of the exponent, of
   subnormal numbers, too. It is exact. */
static inline float stepforge_of_float16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, size = (uint32_t)(half & 0x7FFF) << 13;
    float finite = float32_of_bits(size) * 0x1p112f;
    uint32_t beyond = size | 0x7F800000;
    return float32_of_bits(sign | (size >= 0x0F800000 ? beyond : bits_of_float32(finite)));
}

/* The operations of a rule, of floats and of doubles. */
#define STEPFORGE_OF(name, x) _Generic((x), float: name##_float32, double: name##_float64)
#define STEPFORGE_OPERATIONS(real, suffix, root, magnitude)                                       \
    static inline real sqrt_##suffix(real x) { return root(x); }                                  \
    static inline real abs_##suffix(real x) { return magnitude(x); }                              \
    static inline real square_##suffix(real x) { return x * x; }                                  \
    /* -1, 0 or 1; NaN stays NaN. */                                                              \
    static inline real sign_##suffix(real x) { return x > 0 ? 1 : x < 0 ? -1 : x - x; }           \
    /* NaN if either is, and +0 if both are zero. */                                              \
    static inline real max_##suffix(real x, real y) { return ((x > y) | (x != x) ? x : y) + 0; }  \
    static inline real min_##suffix(real x, real y) { return ((x < y) | (x != x) ? x : y) + 0; }
STEPFORGE_OPERATIONS(float, float32, sqrtf, fabsf)
STEPFORGE_OPERATIONS(double, float64, sqrt, fabs)

#define real_sqrt(x) STEPFORGE_OF(sqrt, x)(x)
#define real_abs(x) STEPFORGE_OF(abs, x)(x)
#define real_square(x) STEPFORGE_OF(square, x)(x)
#define real_sign(x) STEPFORGE_OF(sign, x)(x)
#define real_max(x, y) STEPFORGE_OF(max, (x) + (y))(x, y)
#define real_min(x, y) STEPFORGE_OF(min, (x) + (y))(x, y)

/* x as p can store it, widened again. */
static inline float stored_float32(float x, int format)
{
    return format == STEPFORGE_BFLOAT16  ? stepforge_of_bfloat16(stepforge_bfloat16(x))
           : format == STEPFORGE_FLOAT16 ? stepforge_of_float16(stepforge_float16(x))
                                         : x;
}

static inline double stored_float64(double x, int format)
{
    (void)format;
    return x;
}
#define real_stored(x) STEPFORGE_OF(stored, x)(x, stored)

/* What the host computes once a step, in double: as Python does, where C differs. */
static inline double host_max(double x, double y) { return (x >= y || x != x ? x : y) + 0.0; }
static inline double host_min(double x, double y) { return (x <= y || x != x ? x : y) + 0.0; }
static inline double host_sign(double x) { return x != x ? x : (x > 0) - (x < 0); }

/* The remainder has the sign of the divisor. */
static inline double host_mod(double x, double y)
{
    double rest = fmod(x, y);
    if (rest == 0) {
        return copysign(0.0, y);
    }
    return (rest < 0) != (y < 0) ? rest + y : rest;
}

#endif
