/* Convolution 3 x 3 of stride 1 with a quarter of the multiplications (Winograd 1980; Lavin and Gray 2016).

   From a tile of 6 x 6 numbers of x come 4 x 4 of y:

       Y = A' [ (G g G') * (B' d B) ] A        d: tile of x, g: weights 3 x 3, *: number by number, ': transposed

   with one product of matrices over the channels for each of the 36 numbers. The tile (i, j) begins at
   (4 i + down, 4 j + right) of x, the first of the distances; what lies outside of x is 0, or reflected.

   Weights are kept as for any convolution (convolution.c), and transformed a panel at a time: it costs a few percent,
   and saves three quarters of their memory. Where tiles are many each thread transforms and multiplies blocks of tiles
   of its own; where they are few all threads transform all tiles, and then each multiplies panels of its own.

   scratch: for each thread a panel of weights and its products, and for each thread, or for all, the tiles. */
#include "output.h"
#include "winograd.h"

enum { CACHE = 900 * 1024, READY = 2400 * 1024, SHARED = 8 * 1024 * 1024 };

typedef struct {
    const Op *op;
    const float *x, *weight;
    Output out;
    char *scratch;
    int64_t down, right;                    /* where the first tile begins */
    int64_t high, wide, tiles, groups;      /* tiles of a column, of a row, in all; groups of at most MR tiles */
    int64_t lines;                          /* channels, up to whole lines */
    int64_t each;                           /* groups of a block */
    int64_t blocks, panels, parts;          /* parts: into which a block's groups are split, where panels are few */
    int64_t point, weight_point, out_point; /* numbers from one of the 36 to the next: of tiles, weights, products */
    int64_t own, all;                       /* bytes of scratch memory of each thread, and of all */
    int64_t block;                          /* which one is at work */
    int is_shared, is_ready;                /* whether threads share tiles; whether weights are transformed before */
} Task;

INLINE Task task_of(const Op *op, int64_t threads) {
    Task t = {.op = op, .high = up(op->oh, 4), .wide = up(op->ow, 4), .panels = up(op->oc, NR)};
    t.tiles = op->n * t.high * t.wide;
    t.groups = up(t.tiles, MR);
    t.lines = up(op->c, LINE) * LINE;
    t.weight_point = odd_lines(op->c * NR);
    const int64_t weights = 4 * POINTS * t.weight_point;
    const int64_t group = 4 * POINTS * MR * (t.lines + NR);
    t.each = most((CACHE - least(weights, CACHE / 2)) / group, 1);
    t.is_ready = t.panels * weights <= READY;
    t.is_shared = t.groups < 2 * threads * t.each || !t.is_ready;
    if (t.is_shared) t.each = most(SHARED / (4 * POINTS * MR * t.lines), 1);
    t.blocks = up(t.groups, t.each);
    if (t.is_shared && t.blocks == 1) t.is_ready = 0;
    if (!t.is_shared && t.blocks > threads) t.blocks = up(t.blocks, threads) * threads;
    t.each = up(t.groups, t.blocks);
    t.parts = t.is_shared ? least(t.each, up(2 * threads, t.panels)) : 1;
    t.point = odd_lines(t.each * MR * t.lines);
    t.out_point = odd_lines(up(t.each, t.parts) * MR * NR);
    const int64_t tiles = 4 * POINTS * t.point;
    t.own = (t.is_ready ? 0 : weights) + 4 * POINTS * t.out_point + (t.is_shared ? 0 : tiles) + 64;
    t.own = up(t.own, 64) * 64;
    t.all = (t.is_ready ? t.panels * weights : 0) + (t.is_shared ? tiles : 0);
    return t;
}

int64_t NAME(winograd_scratch)(const Op *op, int64_t threads) {
    const Task t = task_of(op, threads);
    return threads * t.own + t.all;
}

/* Where the tiles of group g begin, g = groups for the end. */
INLINE int64_t begin(const Task *t, int64_t g) { return g * t->tiles / t->groups; }

/* A group's tiles, transformed:  to[point][channel / 16][tile][channel % 16] */
static void gather(const Task *t, int64_t group, float *to) {
    const Op *op = t->op;
    const int64_t first = begin(t, group), count = begin(t, group + 1) - first;
    for (int64_t i = 0; i < count; i++) {
        const Tile tile = tile_of(op, t->x, first + i, t->high, t->wide, t->down, t->right);
        ask_ahead(op, &tile);
        for (int64_t c = 0; c < op->c; c += VL)
            tile_points(op, &tile, c, to + (c / LINE * count + i) * LINE + c % LINE, t->point);
    }
}

/* A panel of weights, transformed:  to[point][channel][column] */
static void transform(const Task *t, int64_t panel, float *to) {
    const int64_t channels = t->op->c, tap = channels * NR;
    const float *weight = t->weight + panel * 9 * tap;
    for (int64_t i = 0; i < tap; i += VL) {
        vec rows[18], points[POINTS];
        for (int64_t s = 0; s < 3; s++)
            kernel(load(weight + s * tap + i), load(weight + (3 + s) * tap + i), load(weight + (6 + s) * tap + i), rows + s, 3);
        for (int64_t r = 0; r < 6; r++) kernel(rows[3 * r], rows[3 * r + 1], rows[3 * r + 2], points + 6 * r, 1);
        for (int64_t p = 0; p < POINTS; p++) store(to + p * t->weight_point + i, points[p]);
    }
}

/* Whether all channels of line y, column x of picture n are 0, as they are outside. */
static int is_zero(const Op *op, const float *x, int64_t n, int64_t line, int64_t column) {
    line = found(line, op->h, op->flags & REFLECT), column = found(column, op->w, op->flags & REFLECT);
    if (line < 0 || column < 0) return 1;
    const float *from = x + ((n * op->h + line) * op->w + column) * op->x_ld;
    uint32_t all = 0;
    if (*from == 0)
        for (int64_t c = 0; c < op->c; c++) {
            uint32_t bits;
            memcpy(&bits, from + c, 4);
            all |= bits << 1; /* without its sign */
        }
    return *from == 0 && !all;
}

/* Rounding leaves something of zeros when tiles hold more than zeros, and a rectifier behind would open: put 0 where
   the window does hold nothing else.   i, j: of the tile's first place */
static void put_zeros(const Task *t, int64_t n, int64_t i, int64_t j, vec y[2][16]) {
    const uint64_t window = 7 * (1 + 64 + 4096); /* of 3 x 3 among 6 x 6 */
    uint64_t zeros = 0;
    for (int64_t p = 0; p < POINTS; p++)
        zeros |= (uint64_t)is_zero(t->op, t->x, n, i + t->down + p / 6, j + t->right + p % 6) << p;
    for (int p = 0; zeros && p < 16; p++)
        if ((zeros >> (p / 4 * 6 + p % 4) & window) == window) y[0][p] = y[1][p] = (vec){0};
}

/* Products of some groups' tiles with a panel, transformed back, into y.   tiles: of group `from` and those behind */
static void multiply(const Task *t, int64_t panel, int64_t from, int64_t end, const float *tiles, const float *weights, float *products) {
    const Op *op = t->op;
    const int halves = op->oc - panel * NR > VL ? 2 : 1;
    const int64_t first = begin(t, from);
    for (int64_t p = 0; p < POINTS; p++)
        for (int64_t g = from; g < end; g++) {
            const int64_t start = begin(t, g) - first, count = begin(t, g + 1) - begin(t, g);
            NAME(product)((int)count, halves, tiles + p * t->point + start * t->lines, weights + p * t->weight_point,
                          op->c, products + p * t->out_point + start * NR);
        }
    for (int64_t tile = first; tile < begin(t, end); tile++) {
        const int64_t n = tile / (t->high * t->wide), i = tile / t->wide % t->high * 4, j = tile % t->wide * 4;
        vec y[2][16];
        for (int half = 0; half < 2; half++) {
            const float *m = products + (tile - first) * NR + half * VL;
            vec rows[24];
            for (int64_t s = 0; s < 6; s++) {
                vec d[6];
                for (int64_t r = 0; r < 6; r++) d[r] = load(m + (6 * r + s) * t->out_point);
                outer(d[0], d[1], d[2], d[3], d[4], d[5], rows + s, 6);
            }
            for (int64_t r = 0; r < 4; r++)
                outer(rows[6 * r], rows[6 * r + 1], rows[6 * r + 2], rows[6 * r + 3], rows[6 * r + 4], rows[6 * r + 5], y[half] + 4 * r, 1);
        }
        if (op->flags & ZEROS) put_zeros(t, n, i, j, y);
        for (int64_t r = 0; r < least(op->oh - i, 4); r++)
            for (int64_t s = 0; s < least(op->ow - j, 4); s++)
                put(&t->out, (n * op->oh + i + r) * op->ow + j + s, panel * NR, y[0][4 * r + s], y[1][4 * r + s]);
    }
}

/* Scratch memory: for all the weights, if they are ready before, and the tiles, if they are shared; then each thread's. */
INLINE float *ready(const Task *t, int64_t panel) { return (float *)t->scratch + panel * POINTS * t->weight_point; }
INLINE float *shared(const Task *t) { return ready(t, t->is_ready ? t->panels : 0); }
INLINE float *own(const Task *t, int64_t thread) { return (float *)(t->scratch + t->all + thread * t->own); }

static void prepare_part(void *context, int64_t panel, int64_t thread) {
    (void)thread;
    transform(context, panel, ready(context, panel));
}

static void gather_part(void *context, int64_t part, int64_t thread) {
    const Task *t = context;
    (void)thread;
    const int64_t group = t->block * t->each + part;
    gather(t, group, shared(t) + (begin(t, group) - begin(t, t->block * t->each)) * t->lines);
}

INLINE const float *weights_of(const Task *t, int64_t panel, float *memory) {
    if (t->is_ready) return ready(t, panel);
    transform(t, panel, memory);
    return memory;
}

static void multiply_part(void *context, int64_t part, int64_t thread) {
    const Task *t = context;
    const int64_t panel = part / t->parts, split = part % t->parts;
    const int64_t first = t->block * t->each, count = least(t->each, t->groups - first);
    const int64_t from = first + split * count / t->parts, end = first + (split + 1) * count / t->parts;
    float *products = own(t, thread), *memory = products + POINTS * t->out_point;
    if (from == end) return;
    const float *tiles = shared(t) + (begin(t, from) - begin(t, first)) * t->lines;
    multiply(t, panel, from, end, tiles, weights_of(t, panel, memory), products);
}

static void block_part(void *context, int64_t block, int64_t thread) {
    const Task *t = context;
    const int64_t from = block * t->groups / t->blocks, end = (block + 1) * t->groups / t->blocks;
    float *products = own(t, thread), *tiles = products + POINTS * t->out_point, *memory = tiles + POINTS * t->point;
    for (int64_t g = from; g < end; g++) gather(t, g, tiles + (begin(t, g) - begin(t, from)) * t->lines);
    for (int64_t panel = 0; panel < t->panels; panel++)
        multiply(t, panel, from, end, tiles, weights_of(t, panel, memory), products);
}

void NAME(winograd)(const Op *op, const Call *call) {
    Task t = task_of(op, call->threads);
    if (!t.tiles) return;
    const Distance *distances = at(call, op->distances);
    t.down = distances->down, t.right = distances->right;
    t.x = at(call, op->x), t.weight = at(call, op->weight), t.out = output_of(op, call), t.scratch = at(call, op->scratch);
    if (t.is_ready) NAME(share)(call, t.panels, prepare_part, &t);
    if (!t.is_shared) NAME(share)(call, t.blocks, block_part, &t);
    else
        for (t.block = 0; t.block < t.blocks; t.block++) {
            NAME(share)(call, least(t.each, t.groups - t.block * t.each), gather_part, &t);
            NAME(share)(call, t.panels * t.parts, multiply_part, &t);
        }
}
