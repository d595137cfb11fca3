/* Convolution and max pooling in panels of examples: channel c of pixel (i, j) is feature (c · height + i) · width + j.
   Every product is of a whole vector of examples, however few channels there are.

   convolution  z[o, p] = b[o] + Σ_i Σ_k W[o, i, k] x[i, p + k − padding]
   errors       d_x[i, p] = Σ_o Σ_k W[o, i, k] d_z[o, p + padding − k]
   gradient     d_W[o, i, k] = Σ_p d_z[o, p] x[i, p + k − padding],   over the examples, too
   pooling      y[c, p] = max of its window, whose first maximum d_y goes back to */
#ifndef BLOCKPROP_PICTURES_H
#define BLOCKPROP_PICTURES_H

#include "panels.h"

/* Σ over channels, lines and k < count of a·b, a and b going on from one to the next by what is named so. */
typedef struct {
    const float *a, *b;
    long a_row, a_channel, a_line, b_channel, b_line, b_next, channels, lines, count;
} Window;

/* c[r] = the sum with a from r·a_row on, for `rows` rows */
INLINE void slide(const long rows, const long width, const Window *w, float *c) {
    vec sum[MR][2];
#pragma GCC unroll 16
    for (long r = 0; r < rows; r++) sum[r][0] = sum[r][1] = (vec){0};
    for (long channel = 0; channel < w->channels; channel++)
        for (long line = 0; line < w->lines; line++) {
            const float *a = w->a + channel * w->a_channel + line * w->a_line;
            const float *b = w->b + channel * w->b_channel + line * w->b_line;
            for (long k = w->count; k > 0; k--, a++, b += w->b_next) {
                vec b0 = load(b), b1 = width > 1 ? load(b + VL) : b0;
#pragma GCC unroll 16
                for (long r = 0; r < rows; r++) {
                    vec a_r = all(a[r * w->a_row]);
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

/* sums[r] += Σ_k d[r·d_row + k·next] x[k·next], vector by vector */
INLINE void add_products(const long rows, const float *d, long d_row, const float *x, long next, long count,
                         float *sums) {
    vec sum[MR];
#pragma GCC unroll 16
    for (long r = 0; r < rows; r++) sum[r] = load(sums + r * VL);
    for (; count > 0; count--, d += next, x += next) {
        vec v = load(x);
#pragma GCC unroll 16
        for (long r = 0; r < rows; r++) sum[r] += load(d + r * d_row) * v;
    }
#pragma GCC unroll 16
    for (long r = 0; r < rows; r++) store(sums + r * VL, sum[r]);
}

static void by_windows(long rows, long width, const Window *w, float *c) {
#define KERNEL(rows, width) slide(rows, width, w, c)
    switch (rows) { CASES }
#undef KERNEL
}

static void by_pixels(long rows, const float *d, long d_row, const float *x, long next, long count, float *sums) {
    const long width = 1;
#define KERNEL(rows, width) add_products(rows, d, d_row, x, next, count, sums)
    switch (rows) { CASES }
#undef KERNEL
}

/* Which ks of a kernel meet one of `size` pixels, of which the first stands at −offset: first … last. */
INLINE long first_of(long offset) { return offset < 0 ? -offset : 0; }
INLINE long last_of(long offset, long kernel, long size) { return least(kernel, size - offset); }

static void convolve(const Step *s, long l, long begin, long end, long first, long last) {
    const Layer *layer = s->run->layers + l;
    const Values *x = s->run->values + l, *y = x + 1;
    const long in = layer->height * layer->width, out = layer->out_height * layer->out_width;
    const long channels = y->features / out, taps = layer->kernel_height * layer->kernel_width;
    float c[MR * NR];
    for (long row = first, rows; row < last; row += rows) {
        rows = least(height(channels), last - row);
        for (long p = begin; p < end; p++)
            for (long place = 0; place < out; place++) {
                long i = place / layer->out_width - layer->padding_height;
                long j = place % layer->out_width - layer->padding_width;
                long top = first_of(i), left = first_of(j);
                Window w = {layer->weight + row * layer->channels * taps + top * layer->kernel_width + left,
                            x->panels + (p * x->stride + (i + top) * layer->width + j + left) * NR,
                            layer->channels * taps, taps, layer->kernel_width,
                            in * NR, layer->width * NR, NR,
                            layer->channels, last_of(i, layer->kernel_height, layer->height) - top,
                            last_of(j, layer->kernel_width, layer->width) - left};
                by_windows(rows, vectors(s, p), &w, c);
                for (long r = 0; r < rows; r++)
                    for (long v = 0; v < vectors(s, p) * VL; v += VL) {
                        vec z = load(c + r * NR + v) + all(layer->bias ? layer->bias[row + r] : 0);
                        float *to = y->panels + (p * y->stride + (row + r) * out + place) * NR + v;
                        store(to, activated(layer->activation, layer->slope, z));
                    }
            }
    }
}

static void convolve_back(const Step *s, long l, long begin, long end, long first, long last) {
    const Layer *layer = s->run->layers + l, *below = layer - 1;
    const Values *x = s->run->values + l, *y = x + 1;
    const long in = layer->height * layer->width, out = layer->out_height * layer->out_width;
    const long channels = y->features / out, taps = layer->kernel_height * layer->kernel_width;
    float c[MR * NR];
    for (long row = first, rows; row < last; row += rows) {
        rows = least(height(layer->channels), last - row);
        for (long p = begin; p < end; p++)
            for (long pixel = 0; pixel < in; pixel++) {
                long i = pixel / layer->width + layer->padding_height, j = pixel % layer->width + layer->padding_width;
                long top = first_of(layer->out_height - 1 - i), left = first_of(layer->out_width - 1 - j);
                Window w = {layer->weight + row * taps + top * layer->kernel_width + left,
                            y->errors + (p * y->stride + (i - top) * layer->out_width + j - left) * NR,
                            taps, layer->channels * taps, layer->kernel_width,
                            out * NR, -layer->out_width * NR, -NR,
                            channels, least(layer->kernel_height, i + 1) - top,
                            least(layer->kernel_width, j + 1) - left};
                by_windows(rows, vectors(s, p), &w, c);
                for (long r = 0; r < rows; r++)
                    for (long v = 0; v < vectors(s, p) * VL; v += VL) {
                        long place = (p * x->stride + (row + r) * in + pixel) * NR + v;
                        vec d = load(c + r * NR + v), value = load(x->panels + place);
                        store(x->errors + place, passed_back(below->activation, below->slope, value, d));
                    }
            }
    }
}

/* The update of output channels first … last */
static void convolve_update(const Step *s, long l, long first, long last, long high) {
    const Layer *layer = s->run->layers + l;
    const Values *x = s->run->values + l, *y = x + 1;
    const long in = layer->height * layer->width, out = layer->out_height * layer->out_width;
    const long wide = layer->kernel_width, taps = layer->kernel_height * wide;
    float sums[MOST_TAPS * MR * VL], gradient[MOST_TAPS];
    for (long row = first, rows; row < last; row += rows) {
        rows = least(high, last - row);
        for (long channel = 0; channel < layer->channels; channel++) {
            memset(sums, 0, 4 * taps * MR * VL);
            for (long p = 0; p < s->panels; p++)
                for (long i = 0; i < layer->out_height; i++)
                    for (long tap = 0; tap < taps; tap++) {
                        long up = i + tap / wide - layer->padding_height, shift = tap % wide - layer->padding_width;
                        long from = first_of(shift), to = last_of(shift, layer->out_width, layer->width);
                        if (up < 0 || up >= layer->height || to <= from) continue;
                        const float *d = y->errors + (p * y->stride + row * out + i * layer->out_width + from) * NR;
                        const float *at = x->panels
                                          + (p * x->stride + channel * in + up * layer->width + from + shift) * NR;
                        long both = vectors(s, p) > 1;
                        by_pixels(rows, d, out * NR, at, both ? VL : NR, (to - from) << both, sums + tap * MR * VL);
                    }
            for (long r = 0; r < rows; r++) {
                long at = ((row + r) * layer->channels + channel) * taps;
                for (long tap = 0; tap < taps; tap++) gradient[tap] = across(load(sums + (tap * MR + r) * VL));
                float *velocity = layer->weight_velocity ? layer->weight_velocity + at : 0;
                descend(s->run, layer->weight + at, velocity, gradient, taps);
            }
        }
    }
}

/* Column `column` of a line in panel p; the lines of all channels are counted together. */
INLINE float *pixel(float *panels, const Values *of, long p, long line, long width, long column) {
    return panels + (p * of->stride + line * width + column) * NR;
}

/* The maximum of the window at `at`; NaN is the largest. */
INLINE vec maximum(const Layer *layer, const float *at) {
    vec most = load(at);
    for (long i = 0; i < layer->kernel_height; i++)
        for (long j = 0; j < layer->kernel_width; j++) {
            vec v = load(at + (i * layer->width + j) * NR);
            most = choice((v > most) | (v != v), v, most);
        }
    return most;
}

/* Windows lie side by side. */
static void pool(const Step *s, long l, long begin, long end, long first, long last) {
    const Layer *layer = s->run->layers + l;
    const Values *x = s->run->values + l, *y = x + 1;
    for (long p = begin; p < end; p++)
        for (long channel = first; channel < last; channel++)
            for (long i = 0; i < layer->out_height; i++)
                for (long j = 0; j < layer->out_width; j++) {
                    const float *from = pixel(x->panels, x, p, channel * layer->height + i * layer->kernel_height,
                                              layer->width, j * layer->kernel_width);
                    float *to = pixel(y->panels, y, p, channel * layer->out_height + i, layer->out_width, j);
                    for (long v = 0; v < vectors(s, p) * VL; v += VL)
                        store(to + v, activated(layer->activation, layer->slope, maximum(layer, from + v)));
                }
}

/* Errors take the place of x; what no window reaches gets 0. */
static void pool_back(const Step *s, long l, long begin, long end, long first, long last) {
    const Layer *layer = s->run->layers + l, *below = layer - 1;
    const Values *x = s->run->values + l, *y = x + 1;
    const long high = layer->kernel_height, wide = layer->kernel_width;
    for (long p = begin; p < end; p++)
        for (long channel = first; channel < last; channel++) {
            for (long i = 0; i < layer->height; i++)
                for (long j = 0; j < layer->width; j++)
                    if (i / high >= layer->out_height || j / wide >= layer->out_width)
                        memset(pixel(x->errors, x, p, channel * layer->height + i, layer->width, j), 0, 4 * NR);
            for (long i = 0; i < layer->out_height; i++)
                for (long j = 0; j < layer->out_width; j++)
                    for (long v = 0; v < vectors(s, p) * VL; v += VL) {
                        float *at = pixel(x->errors, x, p, channel * layer->height + i * high, layer->width, j * wide) + v;
                        vec most = maximum(layer, at);
                        vec d = load(pixel(y->errors, y, p, channel * layer->out_height + i, layer->out_width, j) + v);
                        ivec open = most == most; /* where the maximum is still to come */
                        for (long tap = 0; tap < high * wide; tap++) {
                            float *place = at + (tap / wide * layer->width + tap % wide) * NR;
                            vec value = load(place);
                            ivec is = open & (value == most);
                            open &= ~is;
                            store(place, passed_back(below->activation, below->slope, value, where(is, d)));
                        }
                    }
        }
}

#endif
