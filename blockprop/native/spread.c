/* Error propagation of a convolution to few channels, as from the first layer to the picture:

       d_x[(i sy, j sx) + distance t][k] += sum over channels m of  d_y[i, j][m] * weight[m][t, k]

   Products first, of all taps and channels at once, since a panel of a single tap would hold little else than zeros;
   then each is added at its place. x here is d_y, and y is d_x, of h x w and oh x ow places.

   Taps of a line lie side by side.   weight: panels of NR columns (t, k), [column / NR][m][column % NR].   scratch: products of some lines of d_y. */
#include "output.h"
#include "product.h"

typedef struct {
    const Op *op;
    const float *x, *weight;
    const Distance *distances;
    Output out;
    char *scratch;
    int64_t columns, panels, k, above, below; /* lines of d_y that reach line y: (y - below) / sy … (y - above) / sy */
    int64_t lines, parts, products, room;     /* lines of d_x of a part; numbers of a place's products */
    int64_t wide, margin;             /* taps beside each other; places beyond the edges that they reach */
} Task;

INLINE int64_t down(int64_t a, int64_t b) { return a >= 0 ? a / b : -up(-a, b); }

INLINE Task task_of(const Op *op, int64_t threads, int64_t reach) {
    Task t = {.op = op, .columns = op->taps * op->oc, .k = up(op->c, LINE) * LINE};
    t.panels = up(t.columns, NR);
    t.products = t.panels * NR;
    t.wide = op->gw, t.margin = op->x0;
    t.lines = most(least(up(op->n * op->oh, 2 * threads), 400000 / (t.products * op->w * op->sy) + 1), 1);
    t.parts = up(op->oh, t.lines) * op->n;
    const int64_t source = up(t.lines + reach, op->sy) + 2;
    t.room = up(4 * (source * op->w * t.products + MR * (t.k + NR) + (op->ow + 2 * t.margin) * op->oc + 3 * NR), 64) * 64 + 64;
    return t;
}

/* The grid, which is not used else, tells the most that taps lie apart, gh, how many a line of them has, gw, side by
   side, and how far they reach beyond an edge, x0. */
int64_t NAME(spread_scratch)(const Op *op, int64_t threads) { return threads * task_of(op, threads, op->gh).room; }

static void spread_part(void *context, int64_t part, int64_t thread) {
    const Task *t = context;
    const Op *op = t->op;
    const int64_t per_picture = up(op->oh, t->lines), n = part / per_picture, y0 = part % per_picture * t->lines;
    const int64_t y1 = least(y0 + t->lines, op->oh);
    const int64_t i0 = most(-down(-(y0 - t->below), op->sy), 0), i1 = least(down(y1 - 1 - t->above, op->sy) + 1, op->h);
    float *products = (float *)(t->scratch + thread * t->room);
    float *lines = products + (up(t->lines + op->gh, op->sy) + 2) * op->w * t->products, *result = lines + MR * t->k;
    float *sum = result + MR * NR;
    ivec lane;
    for (int i = 0; i < VL; i++) lane[i] = i;
    const int64_t rows = most(i1 - i0, 0) * op->w, groups = up(rows, MR);
    for (int64_t g = 0; g < groups; g++) {
        const int64_t r = g * rows / groups, count = (g + 1) * rows / groups - r;
        for (int64_t i = 0; i < count; i++) {
            const float *from = t->x + ((n * op->h + i0) * op->w + r + i) * op->x_ld;
            for (int64_t c = 0; c < op->c; c += VL)
                store(lines + (c / LINE * count + i) * LINE + c % LINE, load(from + c));
        }
        for (int64_t p = 0; p < t->panels; p++) {
            if (t->panels == 1) {
                NAME(product)((int)count, 2, lines, t->weight, op->c, products + r * NR);
                continue;
            }
            NAME(product)((int)count, 2, lines, t->weight + p * op->c * NR, op->c, result);
            for (int64_t i = 0; i < count; i++) {
                store(products + (r + i) * t->products + p * NR, load(result + i * NR));
                store(products + (r + i) * t->products + p * NR + VL, load(result + i * NR + VL));
            }
        }
    }
    for (int64_t y = y0; y < y1; y++) {
        memset(sum, 0, 4 * (op->ow + 2 * t->margin) * op->oc);
        for (int64_t tap = 0; tap < op->taps; tap += t->wide) { /* a line of taps at once */
            const int64_t i = (y - t->distances[tap].down) / op->sy;
            if (y - t->distances[tap].down != i * op->sy || i < i0 || i >= i1) continue;
            const float *from = products + (i - i0) * op->w * t->products + tap * op->oc;
            float *to = sum + (t->distances[tap].right + t->margin) * op->oc;
            const int64_t width = t->wide * op->oc, apart = up(up(width, VL) * VL, op->sx * op->oc);
            for (int64_t first = 0; first < apart; first++) /* next to each other they would wait for each other */
                for (int64_t j = first; j < op->w; j += apart)
                    for (int64_t k = 0; k < width; k += VL) {
                        float *at = to + j * op->sx * op->oc + k;
                        store(at, load(at) + where(lane < (int32_t)(width - k), load(from + j * t->products + k)));
                    }
        }
        if (!t->out.add && !t->out.bias && !(op->flags & GATE) && op->y_ld == op->oc)
            memcpy(t->out.y + (n * op->oh + y) * op->ow * op->oc, sum + t->margin * op->oc, 4 * op->ow * op->oc);
        else for (int64_t x = 0; x < op->ow; x++)
            put(&t->out, (n * op->oh + y) * op->ow + x, 0, load_some(sum + (x + t->margin) * op->oc, op->oc), (vec){0});
    }
}

void NAME(spread)(const Op *op, const Call *call) {
    Task t = task_of(op, call->threads, op->gh);
    t.x = at(call, op->x), t.weight = at(call, op->weight), t.distances = at(call, op->distances);
    t.out = output_of(op, call), t.scratch = at(call, op->scratch);
    t.above = t.distances[0].down, t.below = t.distances[op->taps - 1].down;
    NAME(share)(call, t.parts, spread_part, &t);
}
