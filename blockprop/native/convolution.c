/* Convolution as a product of matrices, and its error propagation, which is one as well.

       y[p][j] = sum over taps t, channels k of  x[window of p, t][k] * weight[t][k][j]

   A window begins at (i sy, j sx) of x and has its taps at given distances; what lies outside of x is 0, or
   reflected at the edge. So one function
   does convolutions of any size, stride, padding and dilation. Error propagation through a stride s is s² of them, one
   for the places of x that have the same remainder by s, each with the taps that reach them.

   weight: panels of NR columns, [j / NR][t][k][j % NR].   scratch: for each thread the rows of a part, as lines, and the
   weights of a panel, where not all of its taps are wanted. */
#include "output.h"
#include "product.h"

enum { PART = 256 * 1024, RUNS = 128 }; /* bytes of rows that stay in the second cache, beside a panel */

typedef struct {
    const Op *op;
    const float *x, *weight;
    const Distance *distances;
    Output out;
    char *scratch;
    int32_t run[RUNS];
    int64_t k, rows, groups, blocks, splits, panels, room;
} Task;


/* How the work is parted: groups of at most MR rows, blocks of groups, splits of panels. */
INLINE Task task_of(const Op *op, int64_t threads) {
    Task t = {.op = op, .k = op->taps * op->c, .rows = op->n * op->gh * op->gw};
    t.groups = up(t.rows, MR);
    t.panels = up(op->oc, NR);
    const int64_t line = up(most(t.k, 1), LINE) * LINE * 4;
    const int64_t wanted = threads > 1 ? 4 * threads : 1;
    t.blocks = up(t.groups, most(PART / (line * MR), 1));
    if (t.k * op->oc <= t.rows * t.k) t.blocks = most(t.blocks, least(t.groups, wanted));
    t.splits = least(t.panels, up(wanted, t.blocks));
    t.room = up(t.groups, t.blocks) * MR * line + MR * (line + 4 * LINE) + 4 * NR * MR;
    if (op->taps < op->weight_taps) t.room += 4 * t.k * NR;
    t.room = up(t.room, 64) * 64 + 64;
    return t;
}

int64_t NAME(convolve_scratch)(const Op *op, int64_t threads) { return threads * task_of(op, threads).room; }

/* From how many taps on, this one first, numbers lie beside each other in memory, if all are inside. */
static void find_runs(Task *t) {
    const Op *op = t->op;
    for (int64_t tap = 0; tap < op->taps && tap < RUNS; tap++) {
        const Distance *from = t->distances + tap;
        int64_t count = 1;
        while (op->x_ld == op->c && tap + count < op->taps && from[count].down == from->down &&
               from[count].right == from->right + count)
            count++;
        t->run[tap] = (int32_t)count;
    }
}

/* The rows r0 … r0 + rows of the matrix, as lines; and which places of y they are. Few channels are put beside each
   other in memory first: what was just stored in pieces cannot be read at once. */
static void gather(const Task *t, int64_t r0, int64_t rows, float *lines, float *memory, int64_t *places) {
    const Op *op = t->op;
    const int64_t c = op->c, full = c % LINE == 0, length = up(t->k, LINE) * LINE + LINE;
    int64_t n = r0 / (op->gw * op->gh), i = r0 / op->gw % op->gh, j = r0 % op->gw;
    for (int64_t r = 0; r < rows; r++, j++) {
        if (j == op->gw) j = 0, i++;
        if (i == op->gh) i = 0, n++;
        places[r] = (n * op->oh + op->y0 + i * op->ystep) * op->ow + op->x0 + j * op->xstep;
        float *to = lines + r * LINE, *row = memory + r * length;
        for (int64_t tap = 0; tap < op->taps; tap++) {
            const int64_t y = found(i * op->sy + t->distances[tap].down, op->h, op->flags & REFLECT);
            const int64_t column = j * op->sx + t->distances[tap].right;
            const int64_t x = found(column, op->w, op->flags & REFLECT);
            const int inside = y >= 0 && x >= 0;
            const float *from = t->x + ((n * op->h + y) * op->w + x) * op->x_ld;
            if (full)
                for (int64_t k = 0; k < c; k += LINE, to += rows * LINE)
                    for (int v = 0; v < LINE; v += VL) store(to + v, inside ? load(from + k + v) : (vec){0});
            else {
                const int64_t run = inside && x == column && tap < RUNS ? least(t->run[tap], op->w - x) : 1;
                for (int64_t k = 0; k < run * c; k += VL) store(row + tap * c + k, inside ? load(from + k) : (vec){0});
                tap += run - 1;
            }
        }
    }
    if (!full)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t k = 0; k < t->k; k += LINE)
                for (int v = 0; v < LINE; v += VL)
                    store(lines + (k / LINE * rows + r) * LINE + v, load(memory + r * length + k + v));
}

/* Those of a panel: where they are, or the wanted taps' in memory. */
static const float *weights_of(const Task *t, int64_t panel, float *memory) {
    const int64_t tap = t->op->c * NR;
    const float *weight = t->weight + panel * t->op->weight_taps * tap;
    if (t->op->taps == t->op->weight_taps) return weight;
    for (int64_t i = 0; i < t->op->taps; i++) memcpy(memory + i * tap, weight + t->distances[i].tap * tap, 4 * tap);
    return memory;
}

static void convolve_part(void *context, int64_t part, int64_t thread) {
    const Task *t = context;
    const int64_t block = part % t->blocks, split = part / t->blocks;
    const int64_t first = block * t->groups / t->blocks, end = (block + 1) * t->groups / t->blocks;
    char *scratch = t->scratch + thread * t->room;
    float *result = (float *)scratch, *memory = result + NR * MR, *lines = memory + MR * (up(most(t->k, 1), LINE) * LINE + LINE);
    int64_t places[(end - first) * MR];
    const int64_t r0 = first * t->rows / t->groups;
    for (int64_t g = first; g < end; g++) {
        const int64_t r = g * t->rows / t->groups, rows = (g + 1) * t->rows / t->groups - r;
        gather(t, r, rows, lines + (r - r0) * up(t->k, LINE) * LINE, memory, places + r - r0);
    }
    for (int64_t p = split * t->panels / t->splits; p < (split + 1) * t->panels / t->splits; p++) {
        const int halves = t->out.columns - p * NR > VL ? 2 : 1;
        const float *weight = weights_of(t, p, lines + up(t->groups, t->blocks) * MR * up(most(t->k, 1), LINE) * LINE);
        for (int64_t g = first; g < end; g++) {
            const int64_t r = g * t->rows / t->groups, rows = (g + 1) * t->rows / t->groups - r;
            NAME(product)((int)rows, halves, lines + (r - r0) * up(t->k, LINE) * LINE, weight, t->k, result);
            put_rows(&t->out, places + r - r0, rows, p * NR, result);
        }
    }
}

void NAME(convolve)(const Op *op, const Call *call) {
    Task t = task_of(op, call->threads);
    t.x = at(call, op->x), t.weight = at(call, op->weight), t.distances = at(call, op->distances);
    t.out = output_of(op, call), t.scratch = at(call, op->scratch);
    find_runs(&t);
    if (t.rows) NAME(share)(call, t.blocks * t.splits, convolve_part, &t);
}
