/* Products of matrices in blocks of MR rows and NR columns, whose sums stay in registers; and transposed matrices. */
#ifndef BLOCKPROP_PRODUCTS_H
#define BLOCKPROP_PRODUCTS_H

#include "vector.h"

/* How many rows of a product are computed at once: MR or fewer, in blocks of nearly the same height. */
INLINE long blocks(long rows) { return (rows + MR - 1) / MR; }
INLINE long height(long rows) { return (rows + blocks(rows) - 1) / blocks(rows); }

/* The left factor of a product: a(r, k) = at[r·row + k·next]; after `span` ks the next begin `jump` further. */
typedef struct {
    const float *at;
    long row, next, span, jump;
} Left;

/* c[r][j] = Σ_k a(r, k) b[k·b_next + j]   for `rows` rows and `width` vectors of columns, k < count; c has rows of NR. */
INLINE void multiply(const long rows, const long width, Left a, const float *b, long b_next, long count, float *c) {
    vec sum[MR][2];
#pragma GCC unroll 16
    for (long r = 0; r < rows; r++) sum[r][0] = sum[r][1] = (vec){0};
    for (long left = count; left > 0; left -= a.span, a.at += a.jump) {
        const float *at = a.at;
        for (long k = least(left, a.span); k > 0; k--, at += a.next, b += b_next) {
            vec b0 = load(b), b1 = width > 1 ? load(b + VL) : b0;
#pragma GCC unroll 16
            for (long r = 0; r < rows; r++) {
                vec a_r = all(at[r * a.row]);
                sum[r][0] += a_r * b0;
                if (width > 1) sum[r][1] += a_r * b1;
            }
        }
    }
#pragma GCC unroll 16
    for (long r = 0; r < rows; r++) {
        store(c + r * NR, sum[r][0]);
        if (width > 1) store(c + r * NR + VL, sum[r][1]);
    }
}

/* KERNEL(rows, width) with numbers that the compiler knows */
#define CASE(n) \
    case n: \
        if (width > 1) KERNEL(n, 2); \
        else KERNEL(n, 1); \
        break;
#define CASES_4 CASE(1) CASE(2) CASE(3) CASE(4)
#if MR == 14
#define CASES CASES_4 CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
#elif MR == 8
#define CASES CASES_4 CASE(5) CASE(6) CASE(7) CASE(8)
#elif MR == 6
#define CASES CASES_4 CASE(5) CASE(6)
#else
#define CASES CASES_4
#endif

/* a(r, k) with r·row + k */
static inline void by_rows(long rows, long width, Left a, const float *b, long b_next, long count, float *c) {
    a.next = 1;
#define KERNEL(rows, width) multiply(rows, width, a, b, b_next, count, c)
    switch (rows) { CASES }
}

/* a(r, k) with r + k·next */
static inline void by_columns(long rows, long width, Left a, const float *b, long b_next, long count, float *c) {
    a.row = 1;
    switch (rows) { CASES }
#undef KERNEL
}

#if VL == 16
#define FIRST_HALVES 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define LAST_HALVES 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif VL == 8
#define FIRST_HALVES 0, 8, 1, 9, 2, 10, 3, 11
#define LAST_HALVES 4, 12, 5, 13, 6, 14, 7, 15
#else
#define FIRST_HALVES 0, 4, 1, 5
#define LAST_HALVES 2, 6, 3, 7
#endif
#if defined(__clang__) || __GNUC__ >= 12
#define PICKED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define PICKED(a, b, ...) __builtin_shuffle(a, b, (ivec){__VA_ARGS__})
#endif

/* to[c][r] = from[r][c] in blocks of VL × VL of `lines` × `columns`, both with rows of NR. Rows i and i + VL/2 are woven
   together, log₂ VL times. */
static inline void transpose(const float *from, float *to, long lines, long columns) {
    for (long line = 0; line < lines; line += VL)
        for (long column = 0; column < columns; column += VL) {
            vec v[VL], w[VL];
#pragma GCC unroll 16
            for (long i = 0; i < VL; i++) v[i] = load(from + (line + i) * NR + column);
#pragma GCC unroll 4
            for (long times = VL; times > 1; times /= 2) {
#pragma GCC unroll 16
                for (long i = 0; i < VL / 2; i++) {
                    w[2 * i] = PICKED(v[i], v[i + VL / 2], FIRST_HALVES);
                    w[2 * i + 1] = PICKED(v[i], v[i + VL / 2], LAST_HALVES);
                }
#pragma GCC unroll 16
                for (long i = 0; i < VL; i++) v[i] = w[i];
            }
#pragma GCC unroll 16
            for (long i = 0; i < VL; i++) store(to + (column + i) * NR + line, v[i]);
        }
}

#endif
