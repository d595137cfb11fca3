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

enum { PART = 256 * 1024, WIDE = 1024 * 1024, RUNS = 128 };
/* Bytes of rows that stay in the second cache, beside a panel; of those that each panel meets while it is at hand,
   where weights are more than rows, and are best read once. */

typedef struct {
    const Op *op;
    const float *x, *weight;
    const Distance *distances;
    Output out;
    char *scratch;
    int32_t run[RUNS];
    int64_t away[RUNS];                         /* numbers from where a window begins to its taps */
    int64_t up, down, before, behind;           /* how far the window reaches from there */
    int is_plain;                               /* row r of the matrix is place r of x, and gives place r of y */
    int64_t k, rows, groups, blocks, splits, panels, room;
} Task;


/* How the work is parted: groups of at most MR rows, blocks of groups, splits of panels. */
INLINE Task task_of(const Op *op, int64_t threads) {
    Task t = {.op = op, .k = op->taps * op->c, .rows = op->n * op->gh * op->gw};
    t.groups = up(t.rows, MR);
    t.panels = up(op->oc, NR);
    const int64_t line = up(most(t.k, 1), LINE) * LINE * 4;
    const int is_wide = op->oc > t.rows;
    const int64_t wanted = threads == 1 ? 1 : is_wide ? 2 * threads : 4 * threads;
    t.blocks = up(t.groups, most((is_wide ? WIDE : PART) / (line * MR), 1));
    if (!is_wide) t.blocks = most(t.blocks, least(t.groups, wanted));
    t.splits = least(t.panels, up(wanted, t.blocks));
    t.room = up(t.groups, t.blocks) * MR * line + MR * (line + 4 * LINE) + 4 * NR * MR;
    if (op->taps < op->weight_taps) t.room += 4 * t.k * NR;
    t.room = up(t.room, 64) * 64 + 64;
    return t;
}

int64_t NAME(convolve_scratch)(const Op *op, int64_t threads) { return threads * task_of(op, threads).room; }

/* How far taps lie from where a window begins, and how many numbers on lie beside each other in memory, this tap's
   first, if all are inside. */
static void find_taps(Task *t) {
    const Op *op = t->op;
    t->is_plain = op->taps == 1 && op->sy == 1 && op->sx == 1 && op->ystep == 1 && op->xstep == 1 && op->gh == op->h &&
                  op->gw == op->w && op->oh == op->h && op->ow == op->w && !t->distances->down && !t->distances->right;
    for (int64_t tap = 0; tap < op->taps; tap++) {
        const Distance *from = t->distances + tap;
        t->up = least(t->up, from->down), t->down = most(t->down, from->down);
        t->before = least(t->before, from->right), t->behind = most(t->behind, from->right);
        if (tap >= RUNS) continue;
        int64_t count = 1;
        while (op->x_ld == op->c && tap + count < op->taps && from[count].down == from->down &&
               from[count].right == from->right + count)
            count++;
        t->run[tap] = (int32_t)count;
        t->away[tap] = (from->down * op->w + from->right) * op->x_ld;
    }
}

/* Put the window that begins at line y, column x of picture n into a row: lines of 16 numbers, `next` apart, if its
   channels fill them; else numbers beside each other. What was just stored in pieces cannot be read at once. */
INLINE void gather_row(const Task *t, int64_t n, int64_t y, int64_t x, int full, float *row, int64_t next) {
    const Op *op = t->op;
    const int64_t c = op->c;
    const float *begin = t->x + ((n * op->h + y) * op->w + x) * op->x_ld;
    if (op->taps <= RUNS && y + t->up >= 0 && y + t->down < op->h && x + t->before >= 0 && x + t->behind < op->w) {
        if (full)
            for (int64_t tap = 0; tap < op->taps; tap++)
                for (const float *from = begin + t->away[tap], *end = from + c; from < end; from += LINE, row += next)
                    for (int v = 0; v < LINE; v += VL) store(row + v, load(from + v));
        else
            for (int64_t tap = 0; tap < op->taps; tap += t->run[tap])
                for (int64_t k = 0; k < t->run[tap] * c; k += VL) store(row + tap * c + k, load(begin + t->away[tap] + k));
        return;
    }
    for (int64_t tap = 0; tap < op->taps; tap++) {
        const int64_t line = found(y + t->distances[tap].down, op->h, op->flags & REFLECT);
        const int64_t column = found(x + t->distances[tap].right, op->w, op->flags & REFLECT);
        const int inside = line >= 0 && column >= 0;
        const float *from = t->x + ((n * op->h + line) * op->w + column) * op->x_ld;
        if (full)
            for (int64_t k = 0; k < c; k += LINE, row += next)
                for (int v = 0; v < LINE; v += VL) store(row + v, inside ? load(from + k + v) : (vec){0});
        else
            for (int64_t k = 0; k < c; k += VL) store(row + tap * c + k, inside ? load(from + k) : (vec){0});
    }
}

/* The rows r0 … r0 + rows of the matrix, as lines; and which places of y they are. */
static void gather(const Task *t, int64_t r0, int64_t rows, float *lines, float *memory, int64_t *places) {
    const Op *op = t->op;
    const int64_t full = op->c % LINE == 0, length = up(t->k, LINE) * LINE + LINE;
    if (t->is_plain && full) {
        const float *from = t->x + r0 * op->x_ld;
        for (int64_t r = 0; r < rows; r++, from += op->x_ld) {
            places[r] = r0 + r;
            for (int64_t k = 0; k < op->c; k += LINE)
                for (int v = 0; v < LINE; v += VL) store(lines + k * rows + r * LINE + v, load(from + k + v));
        }
        return;
    }
    int64_t n = r0 / (op->gw * op->gh), i = r0 / op->gw % op->gh, j = r0 % op->gw;
    for (int64_t r = 0; r < rows; r++, j++) {
        if (j == op->gw) j = 0, i++;
        if (i == op->gh) i = 0, n++;
        places[r] = (n * op->oh + op->y0 + i * op->ystep) * op->ow + op->x0 + j * op->xstep;
        if (full) gather_row(t, n, i * op->sy, j * op->sx, 1, lines + r * LINE, rows * LINE);
        else gather_row(t, n, i * op->sy, j * op->sx, 0, memory + r * length, 0);
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
    find_taps(&t);
    if (t.rows) NAME(share)(call, t.blocks * t.splits, convolve_part, &t);
}
