/* A product of matrices, small enough for registers and the nearest cache; all convolutions are made of it.

       c[r][j] = sum over k of a[r][k] * b[k][j]      rows r < rows <= MR, columns j < NR

   a: as lines of 16 numbers, [k / 16][r][k % 16], so that one pointer and constant distances reach all rows.
   b: [k][NR], a panel.   c: [r][NR].   Sums of many are found in parts, since long ones lose digits. */
#include "product.h"

enum { CHUNK = 128 };

INLINE void multiply(const int rows, const int halves, const float *a, const float *b, long k, float *c) {
    for (int is_first = 1; is_first || k > 0; is_first = 0, k -= CHUNK) {
        vec sum[MR][2];
        for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = (vec){0};
        for (long left_over = k < CHUNK ? k : CHUNK; left_over > 0; left_over -= LINE, a += rows * LINE) {
            const long width = left_over < LINE ? left_over : LINE;
            for (long i = 0; i < width; i++, b += NR) {
                const vec left = load(b), right = halves == 2 ? load(b + VL) : left;
#pragma GCC unroll 16
                for (int r = 0; r < rows; r++) {
                    const vec x = all(a[r * LINE + i]);
                    sum[r][0] += x * left;
                    if (halves == 2) sum[r][1] += x * right;
                }
            }
        }
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
            for (int half = 0; half < 2; half++) {
                float *to = c + r * NR + half * VL;
                if (!is_first) sum[r][half] += load(to);
                store(to, sum[r][half]);
            }
    }
}

#define CASE(n)                                                     \
    case n:                                                         \
        if (halves == 2) multiply(n, 2, a, b, k, c);                \
        else multiply(n, 1, a, b, k, c);                            \
        break;

void NAME(product)(int rows, int halves, const float *a, const float *b, long k, float *c) {
    switch (rows) {
        CASE(1) CASE(2) CASE(3) CASE(4)
#if MR > 4
        CASE(5) CASE(6)
#endif
#if MR > 6
        CASE(7) CASE(8)
#endif
#if MR > 8
        CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
#endif
    }
}
