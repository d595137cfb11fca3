/* Vectors of floats, in the width of the instruction set for which a file is compiled.

   Each .c file of this folder is compiled once for each set, with -DSET=avx512, avx2 or portable and that set's flags;
   what it exports has the set's name at its end: NAME(run) is run_avx512. Python (library.py) calls those of the set
   that the machine has. Nothing here calls anything of another set's.

   VL: floats of a vector.   MR: rows of a product that are computed at once.   NR: columns, two vectors. */
#ifndef BLOCKPROP_VECTOR_H
#define BLOCKPROP_VECTOR_H

#include <stdint.h>
#include <string.h>

#define JOINED(name, set) name##_##set
#define NAMED(name, set) JOINED(name, set)
#define NAME(name) NAMED(name, SET)
#define INLINE static inline __attribute__((always_inline))

#if defined(__AVX512F__)
#define VL 16
#define MR 14
#elif defined(__AVX2__)
#define VL 8
#define MR 6
#elif defined(__aarch64__)
#define VL 4
#define MR 8
#else
#define VL 4
#define MR 4
#endif
#define NR (2 * VL)

/* a / b, rounded up; the smaller and the larger of two. */
INLINE int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; }
INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

typedef float vec __attribute__((vector_size(4 * VL), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(4 * VL), aligned(4), may_alias));

INLINE vec load(const float *x) { return *(const vec *)x; }
INLINE void store(float *y, vec v) { *(vec *)y = v; }
INLINE vec all(float x) { return x - (vec){0}; }

/* The first `count` floats of a vector, 0 < count <= VL; the others are 0. */
INLINE vec load_some(const float *x, long count) {
    vec v = {0};
    memcpy(&v, x, 4 * count);
    return v;
}

INLINE void store_some(float *y, vec v, long count) { memcpy(y, &v, 4 * count); }

/* v where the mask is -1, else 0. */
INLINE vec where(ivec mask, vec v) { return (vec)(mask & (ivec)v); }

/* max(v, 0); NaN stays NaN. */
INLINE vec rectified(vec v) { return where(~(v < 0), v); }

/* torch's own pool of threads: calls f(begin, end, context) for parts of begin … end; 0 if all went well. */
typedef void (*Part)(int64_t begin, int64_t end, void *context);
typedef int (*Parallel)(int64_t begin, int64_t end, int64_t grain, Part f, void *context);

#endif
