/* The weights' gradient of a convolution 3 x 3 of stride 1, with a quarter of the multiplications (winograd.c):

       d_g = G' [ sum over tiles of (A d_Y A') * (B' d B) ] G        for each pair of channels

   with one product of matrices over the tiles for each of the 36 numbers. Here x is the convolution's input, y is d_Y, of
   which nothing is changed, and weight is where d_g goes: [oc][c][3 x 3].

   Tiles are taken in blocks that stay in a cache: all threads transform them, and then each adds up sums of its own. No
   number depends on how many threads there are.   scratch: a block's tiles of x and of d_Y, and the sums. */
#include "products.h"
#include "winograd.h"

enum { BLOCK = 3 * 1024 * 1024, LEAST = 64, TILES = 8 };

typedef struct {
    const Op *op;
    const float *x, *d_y;
    float *d_weight, *tiles, *errors, *sums;
    int64_t down, right, high, wide, count;     /* where the first tile begins; tiles of a column, of a row, in all */
    int64_t c, oc;                              /* numbers from one tile to the next: of x, of d_Y */
    int64_t each, first, here;                  /* tiles of a block; the first of this one, and how many it has */
    int64_t point, error_point, sum_point;      /* numbers from one of the 36 to the next: of tiles, errors, sums */
    int64_t panels;
} Task;

INLINE Task task_of(const Op *op) {
    Task t = {.op = op, .high = up(op->oh, 4), .wide = up(op->ow, 4), .panels = up(op->c, NR)};
    t.count = op->n * t.high * t.wide;
    t.c = odd_lines(op->c), t.oc = odd_lines(op->oc);
    t.each = least(most(BLOCK / (4 * POINTS * (t.c + t.oc)), LEAST), t.count);
    t.point = odd_lines(t.each * t.c), t.error_point = odd_lines(t.each * t.oc), t.sum_point = odd_lines(op->oc * t.c);
    return t;
}

int64_t NAME(winograd_gradient_scratch)(const Op *op) {
    const Task t = task_of(op);
    return 4 * POINTS * (t.point + t.error_point + t.sum_point) + 64;
}

/* A of four vectors. */
INLINE void outer_back(vec y0, vec y1, vec y2, vec y3, vec *to, int64_t step) {
    const vec a = y0 + A2 * y2, b = A * y1 + A3 * y3, c = y0 + B2 * y2, d = B * y1 + B3 * y3;
    to[0] = y0;
    to[step] = a + b;
    to[2 * step] = a - b;
    to[3 * step] = c + d;
    to[4 * step] = c - d;
    to[5 * step] = y3;
}

/* G' of six vectors. */
INLINE void kernel_back(vec u0, vec u1, vec u2, vec u3, vec u4, vec u5, vec *to, int64_t step) {
    const float by_a = 1 / (2 * A2 * (A2 - B2)), by_b = 1 / (2 * B2 * (B2 - A2));
    const vec a = by_a * (u1 + u2), b = by_b * (u3 + u4);
    to[0] = u0 + a + b;
    to[step] = (A * by_a) * (u1 - u2) + (B * by_b) * (u3 - u4);
    to[2 * step] = A2 * a + B2 * b + u5;
}

/* A d_Y A' of a tile for the channels from c on. */
INLINE void error_points(const Task *t, int64_t tile, int64_t c, float *points) {
    const Op *op = t->op;
    const int64_t i = tile / t->wide % t->high * 4, j = tile % t->wide * 4;
    const float *from = t->d_y + ((tile / (t->high * t->wide) * op->oh + i) * op->ow + j) * op->y_ld + c;
    vec rows[24];
    for (int64_t r = 0; r < 4; r++) {
        vec d[4];
        for (int64_t s = 0; s < 4; s++)
            d[s] = i + r < op->oh && j + s < op->ow ? load(from + (r * op->ow + s) * op->y_ld) : (vec){0};
        outer_back(d[0], d[1], d[2], d[3], rows + 6 * r, 1);
    }
    for (int64_t s = 0; s < 6; s++) outer_back(rows[s], rows[6 + s], rows[12 + s], rows[18 + s], (vec *)(points + s * t->error_point), 6 * t->error_point / VL);
}

/* Some tiles of the block, transformed:  [point][tile][channel] */
static void gather_part(void *context, int64_t part, int64_t thread) {
    const Task *t = context;
    (void)thread;
    for (int64_t i = part * TILES; i < least((part + 1) * TILES, t->here); i++) {
        const Tile tile = tile_of(t->op, t->x, t->first + i, t->high, t->wide, t->down, t->right);
        ask_ahead(t->op, &tile);
        for (int64_t c = 0; c < t->op->c; c += VL) {
            tile_points(t->op, &tile, c, t->tiles + i * t->c + c, t->point);
        }
        for (int64_t c = 0; c < t->op->oc; c += VL) {
            error_points(t, t->first + i, c, t->errors + i * t->oc + c);
        }
    }
}

/* The sums of a point and a panel of x's channels:  [point][oc][c] */
static void multiply_part(void *context, int64_t part, int64_t thread) {
    const Task *t = context;
    (void)thread;
    const int64_t p = part / t->panels, column = part % t->panels * NR, width = t->op->c - column > VL ? 2 : 1;
    float c[MR * NR];
    for (int64_t row = 0, rows; row < t->op->oc; row += rows) {
        rows = least(height(t->op->oc), t->op->oc - row);
        const Left errors = {t->errors + p * t->error_point + row, 1, t->oc, t->here, 0};
        by_columns(rows, width, errors, t->tiles + p * t->point + column, t->c, t->here, c);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t v = 0; v < width * VL; v += VL) {
                float *sum = t->sums + p * t->sum_point + (row + r) * t->c + column + v;
                vec more = load(c + r * NR + v);
                if (t->first) more += load(sum);
                store(sum, more);
            }
    }
}

/* The gradient of a channel of y. */
static void finish_part(void *context, int64_t o, int64_t thread) {
    const Task *t = context;
    (void)thread;
    for (int64_t c = 0; c < t->op->c; c += VL) {
        vec rows[18], taps[9];
        const float *sum = t->sums + o * t->c + c;
        for (int64_t s = 0; s < 6; s++) {
            vec u[6];
            for (int64_t r = 0; r < 6; r++) u[r] = load(sum + (6 * r + s) * t->sum_point);
            kernel_back(u[0], u[1], u[2], u[3], u[4], u[5], rows + s, 6);
        }
        for (int64_t r = 0; r < 3; r++)
            kernel_back(rows[6 * r], rows[6 * r + 1], rows[6 * r + 2], rows[6 * r + 3], rows[6 * r + 4], rows[6 * r + 5], taps + 3 * r, 1);
        float *to = t->d_weight + (o * t->op->c + c) * 9;
        for (int64_t i = 0; i < least(VL, t->op->c - c); i++)
            for (int64_t tap = 0; tap < 9; tap++) to[i * 9 + tap] = taps[tap][i];
    }
}

void NAME(winograd_gradient)(const Op *op, const Call *call) {
    Task t = task_of(op);
    const Distance *distances = at(call, op->distances);
    t.down = distances->down, t.right = distances->right;
    t.x = at(call, op->x), t.d_y = at(call, op->y), t.d_weight = at(call, op->weight);
    t.tiles = at(call, op->scratch), t.errors = t.tiles + POINTS * t.point, t.sums = t.errors + POINTS * t.error_point;
    for (t.first = 0; t.first < t.count; t.first += t.here) {
        t.here = least(t.each, t.count - t.first);
        NAME(share)(call, up(t.here, TILES), gather_part, &t);
        NAME(share)(call, POINTS * t.panels, multiply_part, &t);
    }
    NAME(share)(call, op->oc, finish_part, &t);
}
