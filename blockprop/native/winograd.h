/* What convolutions 3 x 3 in Winograd's way share (winograd.c): the transforms, and the tiles of x. */
#ifndef BLOCKPROP_WINOGRAD_H
#define BLOCKPROP_WINOGRAD_H

#include "op.h"
#include "product.h"

enum { POINTS = 36 };

INLINE int64_t odd_lines(int64_t count) { return (up(count, LINE) | 1) * LINE; } /* not all in one set of the cache */

/* The transforms interpolate a polynomial at 0, a, -a, b, -b and infinity. With a = 2/3 and b = 3/2 the result is
   twice as exact as with the usual 1 and 2 (Alam et al. 2022), and as soon computed. */
static const float A = 2.0f / 3, A2 = 4.0f / 9, A3 = 8.0f / 27, B = 1.5f, B2 = 2.25f, B3 = 3.375f, S = 97.0f / 36;

/* B' of six vectors. */
INLINE void inner(vec d0, vec d1, vec d2, vec d3, vec d4, vec d5, vec *to, int64_t step) {
    const vec a = d4 - B2 * d2, b = A * d3 - B * d1, c = d4 - A2 * d2, d = B * d3 - A * d1;
    to[0] = d0 - S * d2 + d4;
    to[step] = a + b;
    to[2 * step] = a - b;
    to[3 * step] = c + d;
    to[4 * step] = c - d;
    to[5 * step] = d1 - S * d3 + d5;
}

/* A' of six vectors. */
INLINE void outer(vec m0, vec m1, vec m2, vec m3, vec m4, vec m5, vec *to, int64_t step) {
    const vec a = m1 + m2, b = m1 - m2, c = m3 + m4, d = m3 - m4;
    to[0] = m0 + a + c;
    to[step] = A * b + B * d;
    to[2 * step] = A2 * a + B2 * c;
    to[3 * step] = A3 * b + B3 * d + m5;
}

/* G of three vectors. */
INLINE void kernel(vec g0, vec g1, vec g2, vec *to, int64_t step) {
    const float by_a = 1 / (2 * A2 * (A2 - B2)), by_b = 1 / (2 * B2 * (B2 - A2));
    const vec a = by_a * g0 + (A2 * by_a) * g2, b = (A * by_a) * g1, c = by_b * g0 + (B2 * by_b) * g2, d = (B * by_b) * g1;
    to[0] = g0;
    to[step] = a + b;
    to[2 * step] = a - b;
    to[3 * step] = c + d;
    to[4 * step] = c - d;
    to[5 * step] = g2;
}

/* A tile of x: its picture, where its lines and columns are found, -1 for outside, and whether it is all inside. */
typedef struct {
    const float *from;
    int64_t lines[6], columns[6];
    int is_whole;
} Tile;

INLINE Tile tile_of(const Op *op, const float *x, int64_t number, int64_t high, int64_t wide, int64_t down, int64_t right) {
    const int64_t line = number / wide % high * 4 + down, column = number % wide * 4 + right;
    Tile t = {.from = x + number / (high * wide) * op->h * op->w * op->x_ld};
    t.is_whole = line >= 0 && column >= 0 && line + 6 <= op->h && column + 6 <= op->w;
    for (int64_t r = 0; r < 6; r++) {
        t.lines[r] = found(line + r, op->h, op->flags & REFLECT);
        t.columns[r] = found(column + r, op->w, op->flags & REFLECT);
    }
    return t;
}

/* Ask for what the tile to the right has beyond this one. */
INLINE void ask_ahead(const Op *op, const Tile *t) {
    for (int64_t r = 0; r < 6 && t->is_whole; r++) {
        const float *line = t->from + (t->lines[r] * op->w + t->columns[5] + 1) * op->x_ld;
        for (int64_t i = 0; i < 4 * op->x_ld; i += 16) __builtin_prefetch(line + i);
    }
}

/* B' d B for the channels from c on; `step` numbers, a multiple of VL, from one of the 36 to the next. */
INLINE void tile_points(const Op *op, const Tile *t, int64_t c, float *points, int64_t step) {
    vec rows[POINTS];
    for (int64_t r = 0; r < 6; r++) {
        vec d[6];
        const float *line = t->from + t->lines[r] * op->w * op->x_ld + c;
        if (t->is_whole)
            for (int64_t s = 0; s < 6; s++) d[s] = load(line + (t->columns[0] + s) * op->x_ld);
        else
            for (int64_t s = 0; s < 6; s++)
                d[s] = t->lines[r] < 0 || t->columns[s] < 0 ? (vec){0} : load(line + t->columns[s] * op->x_ld);
        inner(d[0], d[1], d[2], d[3], d[4], d[5], rows + 6 * r, 1);
    }
    for (int64_t s = 0; s < 6; s++)
        inner(rows[s], rows[6 + s], rows[12 + s], rows[18 + s], rows[24 + s], rows[30 + s], (vec *)(points + s * step), 6 * step / VL);
}

#endif
