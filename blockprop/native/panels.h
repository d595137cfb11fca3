/* What learns, in panels of examples. */
#ifndef BLOCKPROP_PANELS_H
#define BLOCKPROP_PANELS_H

#include "functions.h"
#include "products.h"

/* What lies between two layers, the input and the output included. On the way back errors take the place of panels, but
   where a convolution needs those for its gradient. */
typedef struct {
    float *panels, *errors, *sheets;
    int64_t features, stride;
} Values;

enum { LINEAR, CONVOLUTION, MAXIMUM };
enum { MOST_TAPS = 64 };

/* Velocities are NULL without momentum, the bias of a layer that has none, too. channels, height, width: of the pictures
   that a convolution or maximum takes; its kernel has at most MOST_TAPS taps. */
typedef struct {
    float *weight, *bias, *weight_velocity, *bias_velocity;
    int32_t kind, activation;
    int64_t channels, height, width, kernel_height, kernel_width, padding_height, padding_width, out_height, out_width;
    float slope;
} Layer;

/* values: layers + 1.   order: which rows of x are the examples, NULL for the first ones in turn.   targets: of the
   examples in turn, int64 classes or float numbers.   sizes: of the batches, one for each step.
   capacity: examples that have room in a sheet, a multiple of NR.   losses: room for a number a step.
   sums: room for a number a panel. */
typedef struct {
    const Values *values;
    const Layer *layers;
    int64_t depth, loss;
    const float *x;
    const int64_t *order;
    const void *targets;
    const int64_t *sizes;
    int64_t steps, threads, capacity;
    float *losses;
    double *sums;
    Parallel parallel;
    float rate, momentum, decay;
} Training;

/* One step: its batch begins at example `first` and has `size`.   layer, back: whose pass threads share out, and which. */
typedef struct {
    const Training *run;
    long first, size, panels, layer, back;
} Step;

/* How many examples panel p has, and in how many of its two vectors they are. */
INLINE long columns(const Step *s, long p) { return least(NR, s->size - p * NR); }
INLINE long vectors(const Step *s, long p) { return columns(s, p) > VL ? 2 : 1; }

/* The place in the sheets of NR features from feature f on of the first example of panel p */
INLINE float *sheet(const Step *s, const Values *x, long f, long p) {
    return x->sheets + f * s->run->capacity + p * NR * NR;
}

/* g ← g + λ w,  v ← m v + g,  w ← w − μ v */
INLINE void descend(const Training *run, float *w, float *velocity, const float *gradient, long count) {
    long i = 0;
    for (; i + VL <= count; i += VL) {
        vec v = load(gradient + i) + run->decay * load(w + i);
        if (velocity) store(velocity + i, v = run->momentum * load(velocity + i) + v);
        store(w + i, load(w + i) - run->rate * v);
    }
    for (; i < count; i++) {
        float v = gradient[i] + run->decay * w[i];
        if (velocity) v = velocity[i] = run->momentum * velocity[i] + v;
        w[i] -= run->rate * v;
    }
}

/* Asks for NR floats that are about to be changed. */
INLINE void fetch(const float *w) {
    for (long i = 0; i < NR; i += 16) __builtin_prefetch(w + i, 1);
}

/* Σ over a vector */
INLINE float across(vec v) {
    float sum = 0;
    for (long i = 0; i < VL; i++) sum += v[i];
    return sum;
}

/* Σ over the examples of the errors of `count` features from one on */
INLINE float total(const Step *s, const Values *y, long feature, long count) {
    vec sums = {0};
    for (long p = 0; p < s->panels; p++)
        for (long f = 0; f < count; f++)
            for (long v = 0; v < vectors(s, p) * VL; v += VL)
                sums += load(y->errors + (p * y->stride + feature + f) * NR + v);
    return across(sums);
}

#endif
