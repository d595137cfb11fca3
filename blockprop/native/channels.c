/* Operations that treat each channel for itself: convolution in depth, pooling, averages, sums, rectifiers.

   Each part is some lines of places of y; columns go by NR at a time, as the bits of rectifiers do. */
#include "output.h"

typedef struct {
    const Op *op;
    const float *x, *weight;
    const Distance *distances;
    uint8_t *places;
    Output out;
    int64_t lines; /* of a part */
} Task;

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* Share n times `lines` lines, each of so many numbers. */
static void by_lines(const Op *op, const Call *call, int64_t lines, int64_t numbers, void (*f)(void *, int64_t, int64_t)) {
    Task t = {op, at(call, op->x), at(call, op->weight), at(call, op->distances), at(call, op->places), output_of(op, call), 1};
    const int64_t all = op->n * lines;
    t.lines = most(most(all / (8 * call->threads), 1), least(all, 8192 / most(numbers, 1)));
    NAME(share)(call, (all + t.lines - 1) / t.lines, f, &t);
}

#define LINES(all) for (int64_t line = part * t->lines, end = least(line + t->lines, all); line < end; line++)
#define COLUMNS(count) for (int64_t c = 0; c < (count); c += NR)

/* Convolution in depth:  y[p][k] = sum over taps t of  x[window of p, t][k] * weight[t][k]

   weight: [k / NR][t][k % NR].   Windows, taps and the places computed as in convolution.c. */
static void depthwise_part(void *context, int64_t part, int64_t thread) {
    const Task *t = context;
    const Op *op = t->op;
    (void)thread;
    LINES(op->n * op->gh) {
        const int64_t n = line / op->gh, i = line % op->gh;
        COLUMNS(op->c) for (int64_t j = 0; j < op->gw; j++) {
            const float *weight = t->weight + c * op->weight_taps;
            vec left = {0}, right = {0};
            for (int64_t tap = 0; tap < op->taps; tap++) {
                const int64_t y = i * op->sy + t->distances[tap].down, x = j * op->sx + t->distances[tap].right;
                if (y < 0 || y >= op->h || x < 0 || x >= op->w) continue;
                const float *from = t->x + ((n * op->h + y) * op->w + x) * op->x_ld + c;
                left += load(from) * load(weight + t->distances[tap].tap * NR);
                if (op->c - c > VL) right += load(from + VL) * load(weight + t->distances[tap].tap * NR + VL);
            }
            put(&t->out, (n * op->oh + op->y0 + i * op->ystep) * op->ow + op->x0 + j * op->xstep, c, left, right);
        }
    }
}

void NAME(depthwise)(const Op *op, const Call *call) { by_lines(op, call, op->gh, op->gw * op->c, depthwise_part); }

typedef uint8_t bytes __attribute__((vector_size(VL), aligned(1), may_alias));

/* The greatest of a window, and the number of its tap, a byte:  places[p][k].   NaN is the greatest of all. */
static void pool_part(void *context, int64_t part, int64_t thread) {
    const Task *t = context;
    const Op *op = t->op;
    (void)thread;
    LINES(op->n * op->oh) {
        const int64_t n = line / op->oh, i = line % op->oh;
        for (int64_t j = 0; j < op->ow; j++) {
            const int64_t place = line * op->ow + j;
            COLUMNS(op->c) {
                vec y[2] = {{0}, {0}};
                ivec winner[2] = {{0}, {0}};
                int is_first = 1;
                for (int64_t tap = 0; tap < op->taps; tap++) {
                    const int64_t v = i * op->sy + t->distances[tap].down, u = j * op->sx + t->distances[tap].right;
                    if (v < 0 || v >= op->h || u < 0 || u >= op->w) continue;
                    const float *from = t->x + ((n * op->h + v) * op->w + u) * op->x_ld + c;
                    for (int half = 0; half < (op->c - c > VL ? 2 : 1); half++) {
                        const vec x = load(from + half * VL);
                        const ivec wins = (~(x <= y[half]) & (y[half] == y[half])) | -is_first;
                        y[half] = (vec)((wins & (ivec)x) | (~wins & (ivec)y[half]));
                        winner[half] = (wins & ((ivec){0} + (int32_t)tap)) | (~wins & winner[half]);
                    }
                    is_first = 0;
                }
                for (int half = 0; half < 2; half++)
                    *(bytes *)(t->places + place * op->places_ld + c + half * VL) = __builtin_convertvector(winner[half], bytes);
                put(&t->out, place, c, y[0], y[1]);
            }
        }
    }
}

void NAME(pool)(const Op *op, const Call *call) { by_lines(op, call, op->oh, op->ow * op->c * op->taps, pool_part); }

/* The other way:  d_x[p][k] = sum over the windows that hold p of  d_y[window][k] where p was the greatest.

   x here is d_y, and y is d_x; the window (i, j) of d_y begins at (i sy, j sx) of d_x. */
static void unpool_part(void *context, int64_t part, int64_t thread) {
    const Task *t = context;
    const Op *op = t->op;
    (void)thread;
    LINES(op->n * op->oh) {
        const int64_t n = line / op->oh, v = line % op->oh;
        for (int64_t u = 0; u < op->ow; u++) {
            int64_t windows[op->taps + 1], taps[op->taps + 1], count = 0;
            for (int64_t tap = 0; tap < op->taps; tap++) {
                const int64_t down = v - t->distances[tap].down, right = u - t->distances[tap].right;
                const int64_t i = down / op->sy, j = right / op->sx;
                if (down < 0 || right < 0 || i * op->sy != down || j * op->sx != right || i >= op->h || j >= op->w) continue;
                windows[count] = (n * op->h + i) * op->w + j, taps[count++] = tap;
            }
            COLUMNS(op->oc) {
                vec d[2] = {{0}, {0}};
                for (int64_t k = 0; k < count; k++)
                    for (int half = 0; half < (op->oc - c > VL ? 2 : 1); half++) {
                        const bytes winner = *(const bytes *)(t->places + windows[k] * op->places_ld + c + half * VL);
                        const ivec wins = __builtin_convertvector(winner, ivec) == (int32_t)taps[k];
                        d[half] += where(wins, load(t->x + windows[k] * op->x_ld + c + half * VL));
                    }
                put(&t->out, line * op->ow + u, c, d[0], d[1]);
            }
        }
    }
}

void NAME(unpool)(const Op *op, const Call *call) { by_lines(op, call, op->oh, op->ow * op->oc * 4, unpool_part); }

/* The mean of each channel:  y[n][k] = sum over places p of  x[n][p][k] / places.   Parts are columns. */
static void average_part(void *context, int64_t part, int64_t thread) {
    const Task *t = context;
    const Op *op = t->op;
    (void)thread;
    const int64_t panels = (op->c + NR - 1) / NR, n = part / panels, c = part % panels * NR, places = op->h * op->w;
    vec left = {0}, right = {0};
    for (int64_t p = 0; p < places; p++) {
        const float *from = t->x + (n * places + p) * op->x_ld + c;
        left += load(from);
        if (op->c - c > VL) right += load(from + VL);
    }
    put(&t->out, n, c, left / (float)places, right / (float)places);
}

void NAME(average)(const Op *op, const Call *call) {
    Task t = {op, at(call, op->x), 0, 0, 0, output_of(op, call), 1};
    NAME(share)(call, op->n * ((op->c + NR - 1) / NR), average_part, &t);
}

/* Numbers as they are, or those of one place for all places (of the mean's errors, high being their count):

       y[p][k] = x[p sy / …][k] + add[p][k], rectified or gated;   sy: 0 if x has one place for each picture, else 1 */
static void pass_part(void *context, int64_t part, int64_t thread) {
    const Task *t = context;
    const Op *op = t->op;
    (void)thread;
    LINES(op->n * op->oh) for (int64_t j = 0; j < op->ow; j++) {
        const int64_t place = line * op->ow + j;
        const float *from = t->x + (op->sy ? place : line / op->oh) * op->x_ld;
        const float share = op->sy ? 1 : 1 / (float)(op->oh * op->ow);
        COLUMNS(op->oc) {
            const int64_t count = op->oc - c;
            const vec left = count >= VL ? load(from + c) : load_some(from + c, count);
            const vec right = count >= NR ? load(from + c + VL) : count > VL ? load_some(from + c + VL, count - VL) : (vec){0};
            put(&t->out, place, c, left * share, right * share);
        }
    }
}

void NAME(pass)(const Op *op, const Call *call) { by_lines(op, call, op->oh, op->ow * op->oc, pass_part); }
