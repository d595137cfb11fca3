/* What a program is made of: operations on pictures whose channels lie beside each other, (n, h, w, c).

   A program is a list of operations and the addresses of a few pieces of memory (the arena, what is saved, weights,
   inputs, outputs); operations name memory by the piece and the distance from its beginning, so that one program
   serves any number of calls. Whoever reads a vector of channels may read up to a vector more than there is: each
   piece ends with room for that. preparing/ writes programs; what a field means for an operation stands at its
   function. */
#ifndef BLOCKPROP_OP_H
#define BLOCKPROP_OP_H

#include "vector.h"

typedef struct {
    int64_t piece; /* -1: nothing */
    int64_t start; /* bytes from its beginning */
} Memory;

enum { RECTIFY = 1, KEEP = 2, GATE = 4, REFLECT = 8, ZEROS = 16 };

typedef struct {
    int32_t down, right, tap;
} Distance;

typedef struct {
    int64_t kind;
    int64_t n, h, w, c;            /* of x */
    int64_t oh, ow, oc;            /* of y */
    int64_t gh, gw;                /* places of y that are computed: */
    int64_t y0, x0, ystep, xstep;  /*     (y0 + i ystep, x0 + j xstep) for i < gh, j < gw */
    int64_t sy, sx;                /* the window of place (i, j) begins at (i sy, j sx) of x */
    int64_t taps, weight_taps;     /* places of a window, and those for which there are weights */
    Memory distances;              /* int32 for each: down, right, and which of the weights' it is */
    Memory x, y, add, weight, bias, bits, places, scratch;
    int64_t x_ld, y_ld, add_ld; /* numbers from one place to the next */
    int64_t bits_ld, places_ld; /* bytes */
    int64_t flags;
    double high; /* of RECTIFY; 0 for none */
} Op;

/* What a call hands to each operation.   threads: how many parts run at once. */
typedef struct {
    char *const *pieces;
    int64_t threads;
    Parallel parallel;
} Call;

INLINE void *at(const Call *call, Memory memory) {
    return memory.piece < 0 ? 0 : (void *)(call->pieces[memory.piece] + memory.start);
}

/* Where line or column `place` of `count` is found; -1 if that is outside, and nothing is reflected at the edge. */
INLINE int64_t found(int64_t place, int64_t count, int64_t reflects) {
    if (reflects) place = place < 0 ? -place : place >= count ? 2 * count - 2 - place : place;
    return place >= 0 && place < count ? place : -1;
}

/* Call f(context, part, thread) for each part < parts, by all threads; each takes the next part that nobody has. */
void NAME(share)(const Call *call, int64_t parts, void (*f)(void *, int64_t, int64_t), void *context);

void NAME(convolve)(const Op *op, const Call *call);
void NAME(winograd)(const Op *op, const Call *call);
void NAME(spread)(const Op *op, const Call *call);
void NAME(depthwise)(const Op *op, const Call *call);
void NAME(pool)(const Op *op, const Call *call);
void NAME(unpool)(const Op *op, const Call *call);
void NAME(average)(const Op *op, const Call *call);
void NAME(pass)(const Op *op, const Call *call);
void NAME(winograd_gradient)(const Op *op, const Call *call);

/* Bytes of scratch memory that they need. */
int64_t NAME(convolve_scratch)(const Op *op, int64_t threads);
int64_t NAME(winograd_scratch)(const Op *op, int64_t threads);
int64_t NAME(spread_scratch)(const Op *op, int64_t threads);
int64_t NAME(winograd_gradient_scratch)(const Op *op);

#endif
