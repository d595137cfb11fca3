/* What is done with numbers before they are stored, the same for all operations:

       v + bias + add;   max(v, 0) or min(max(v, 0), high), and a bit that tells where that was open;
       or v where such a bit of before is 1, else 0

   A bit is 1 where 0 < y < high, or y is no number. Bits of a place: NR for each NR columns. */
#ifndef BLOCKPROP_OUTPUT_H
#define BLOCKPROP_OUTPUT_H

#include "op.h"

#if VL > 4
#include <immintrin.h>
#endif

typedef struct {
    float *y;
    const float *add, *bias;
    uint8_t *bits;
    int64_t y_ld, add_ld, bits_ld, columns, flags;
    float high;
} Output;

INLINE Output output_of(const Op *op, const Call *call) {
    return (Output){at(call, op->y),  at(call, op->add), at(call, op->bias), at(call, op->bits), op->y_ld,
                    op->add_ld,       op->bits_ld,       op->oc,             op->flags,          (float)op->high};
}

#if VL == 16
INLINE void put_bits(uint8_t *bits, ivec left, ivec right) {
    const uint32_t both = _mm512_movepi32_mask((__m512i)left) | (uint32_t)_mm512_movepi32_mask((__m512i)right) << 16;
    memcpy(bits, &both, 4);
}
INLINE vec gated(const uint8_t *bits, int half, vec v) {
    uint16_t open;
    memcpy(&open, bits + 2 * half, 2);
    return (vec)_mm512_maskz_mov_ps(open, (__m512)v);
}
#elif VL == 8
INLINE void put_bits(uint8_t *bits, ivec left, ivec right) {
    bits[0] = (uint8_t)_mm256_movemask_ps((__m256)left);
    bits[1] = (uint8_t)_mm256_movemask_ps((__m256)right);
}
INLINE vec gated(const uint8_t *bits, int half, vec v) {
    const ivec power = {1, 2, 4, 8, 16, 32, 64, 128};
    return where((((ivec){0} + bits[half]) & power) != 0, v);
}
#else
INLINE void put_bits(uint8_t *bits, ivec left, ivec right) {
    const ivec low = {1, 2, 4, 8}, high = {16, 32, 64, 128};
    const ivec both = (left & low) | (right & high);
    bits[0] = (uint8_t)(both[0] | both[1] | both[2] | both[3]);
}
INLINE vec gated(const uint8_t *bits, int half, vec v) {
    const ivec power = {1, 2, 4, 8};
    return where((((ivec){0} + (bits[0] >> 4 * half)) & power) != 0, v);
}
#endif

INLINE vec cut(vec v, float high) {
    v = rectified(v);
    return high > 0 ? (vec)(((v > high) & (ivec)all(high)) | (~(v > high) & (ivec)v)) : v;
}

INLINE ivec is_open(vec v, float high) { return high > 0 ? ~(v <= 0) & ~(v >= high) : ~(v <= 0); }

/* Store what the columns j … j + count of a place are, at most NR, bias included.   count, flags, add, high: as of the
   output, and constant where this is called for many places. */
INLINE void put_as(const Output *o, int64_t place, int64_t j, vec left, vec right, int64_t count, int64_t flags, const float *add, float high) {
    if (add) {
        add += place * o->add_ld + j;
        left += count >= VL ? load(add) : load_some(add, count);
        if (count > VL) right += count >= NR ? load(add + VL) : load_some(add + VL, count - VL);
    }
    if (flags & RECTIFY) left = cut(left, high), right = cut(right, high);
    if (flags & (KEEP | GATE)) {
        uint8_t *bits = o->bits + place * o->bits_ld + j / 8;
        if (flags & KEEP) put_bits(bits, is_open(left, high), is_open(right, high));
        if (flags & GATE) left = gated(bits, 0, left), right = gated(bits, 1, right);
    }
    float *y = o->y + place * o->y_ld + j;
    if (count >= NR) {
        store(y, left);
        store(y + VL, right);
    } else if (count == VL)
        store(y, left);
    else if (count > VL) {
        store(y, left);
        store_some(y + VL, right, count - VL);
    } else
        store_some(y, left, count);
}

INLINE void put(const Output *o, int64_t place, int64_t j, vec left, vec right) {
    if (o->bias) left += load(o->bias + j), right += load(o->bias + j + VL);
    put_as(o, place, j, left, right, o->columns - j, o->flags, o->add, o->high);
}

/* The same for several places; v: [place][NR]. The usual cases have loops of their own. */
INLINE void put_rows(const Output *o, const int64_t *places, int64_t rows, int64_t j, const float *v) {
    const vec left = o->bias ? load(o->bias + j) : (vec){0}, right = o->bias ? load(o->bias + j + VL) : (vec){0};
#define ROWS(count, flags, add, high)  \
    for (int64_t i = 0; i < rows; i++) \
        put_as(o, places[i], j, load(v + i * NR) + left, load(v + i * NR + VL) + right, count, flags, add, high)
#define USUAL(count)                                                                             \
    if (flags == (RECTIFY | KEEP) && !o->add && o->high > 0) ROWS(count, RECTIFY | KEEP, 0, o->high); \
    else if (flags == (RECTIFY | KEEP) && !o->add) ROWS(count, RECTIFY | KEEP, 0, 0);            \
    else if (flags == RECTIFY && !o->add && !(o->high > 0)) ROWS(count, RECTIFY, 0, 0);          \
    else if (flags == GATE && !o->add) ROWS(count, GATE, 0, 0);                                  \
    else if (flags == GATE) ROWS(count, GATE, o->add, 0);                                        \
    else if (flags == 0 && !o->add) ROWS(count, 0, 0, 0);                                        \
    else ROWS(count, o->flags, o->add, o->high);
    const int64_t flags = o->flags & (RECTIFY | KEEP | GATE), count = o->columns - j;
    if (count >= NR) USUAL(NR)
    else if (count == VL) USUAL(VL)
    else ROWS(count, o->flags, o->add, o->high);
#undef USUAL
#undef ROWS
}

#endif
