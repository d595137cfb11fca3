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


/* Share n times `lines` lines, each of so many numbers. */
static void by_lines(const Op *op, const Call *call, int64_t lines, int64_t numbers, void (*f)(void *, int64_t, int64_t)) {
    Task t = {op, at(call, op->x), at(call, op->weight), at(call, op->distances), at(call, op->places), output_of(op, call), 1};
    const int64_t all = op->n * lines;
    t.lines = most(most(all / (8 * call->threads), 1), least(all, 8192 / most(numbers, 1)));
    NAME(share)(call, (all + t.lines - 1) / t.lines, f, &t);
}

enum { CHUNK = 32 }; /* places at once */

#define LINES(all) for (int64_t line = part * t->lines, end = least(line + t->lines, all); line < end; line++)
#define COLUMNS(count) for (int64_t c = 0; c < (count); c += NR)

/* Convolution in depth:  y[p][k] = sum over taps t of  x[window of p, t][k] * weight[t][k]

   weight: [k / NR][t][k % NR].   Windows, taps and the places computed as in convolution.c. The taps of a line are
   found once; FOUR places whose windows lie inside are computed at once, and share weights. */
typedef struct {
    const float *from, *weight; /* numbers of the line's first place, and weights of the first channels */
    int64_t right;
} Tap;

enum { FOUR = 4 };

/* y[r] = that sum for `places` places, `step` numbers of x apart, from x + start on, of NR channels, or of VL. */
INLINE void in_depth(const int places, const int halves, const Tap *taps, int64_t count, int64_t start, int64_t step, int64_t weights, float *y) {
    vec sum[FOUR][2] = {{{0}}};
    for (const Tap *tap = taps; tap < taps + count; tap++) {
        const float *from = tap->from + start, *weight = tap->weight + weights;
        for (int half = 0; half < halves; half++) {
            const vec w = load(weight + half * VL);
#pragma GCC unroll 4
            for (int r = 0; r < places; r++) sum[r][half] += load(from + r * step + half * VL) * w;
        }
    }
    for (int r = 0; r < places; r++) store(y + r * NR, sum[r][0]), store(y + r * NR + VL, sum[r][1]);
}

/* The taps that lie inside for column j. */
static int64_t inside(const Op *op, const Tap *taps, int64_t count, int64_t j, Tap *found) {
    int64_t number = 0;
    for (int64_t k = 0; k < count; k++) {
        const int64_t x = j * op->sx + taps[k].right;
        if (x >= 0 && x < op->w) found[number++] = taps[k];
    }
    return number;
}

static void depthwise_part(void *context, int64_t part, int64_t thread) {
    const Task *t = context;
    const Op *op = t->op;
    (void)thread;
    Tap taps[op->taps + 1], some[op->taps + 1];
    const int64_t step = op->sx * op->x_ld;
    LINES(op->n * op->gh) {
        const int64_t n = line / op->gh, i = line % op->gh;
        int64_t count = 0, least_right = 0, most_right = 0;
        for (const Distance *d = t->distances; d < t->distances + op->taps; d++) {
            const int64_t y = i * op->sy + d->down;
            if (y < 0 || y >= op->h) continue;
            taps[count++] = (Tap){t->x + ((n * op->h + y) * op->w + d->right) * op->x_ld, t->weight + d->tap * NR, d->right};
            least_right = least(least_right, d->right), most_right = most(most_right, d->right);
        }
        COLUMNS(op->c) for (int64_t j0 = 0; j0 < op->gw; j0 += CHUNK) {
            const int64_t end = least(j0 + CHUNK, op->gw), weights = c * op->weight_taps;
            const int halves = op->c - c > VL ? 2 : 1;
            float y[CHUNK * NR];
            int64_t places[CHUNK];
            for (int64_t j = j0, done; j < end; j += done) {
                float *to = y + (j - j0) * NR;
                const int64_t start = j * step + c;
                done = j * op->sx + least_right >= 0 && (j + FOUR - 1) * op->sx + most_right < op->w && j + FOUR <= end ? FOUR : 1;
                if (done == 1) in_depth(1, 2, some, inside(op, taps, count, j, some), start, step, weights, to);
                else if (halves == 2) in_depth(FOUR, 2, taps, count, start, step, weights, to);
                else in_depth(FOUR, 1, taps, count, start, step, weights, to);
            }
            for (int64_t j = j0; j < end; j++) places[j - j0] = (n * op->oh + op->y0 + i * op->ystep) * op->ow + op->x0 + j * op->xstep;
            put_rows(&t->out, places, end - j0, c, y);
        }
    }
}

void NAME(depthwise)(const Op *op, const Call *call) { by_lines(op, call, op->gh, op->gw * op->c, depthwise_part); }

/* Bytes as whole numbers of a vector, and back; compilers do it one by one if they are not told how. */
#if VL == 16
INLINE ivec widened(const uint8_t *x) { return (ivec)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)x)); }
INLINE void narrowed(uint8_t *y, ivec v) { _mm_storeu_si128((__m128i *)y, _mm512_cvtepi32_epi8((__m512i)v)); }
#else
#if VL == 8
INLINE ivec widened(const uint8_t *x) { return (ivec)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)x)); }
#else
INLINE ivec widened(const uint8_t *x) { return (ivec){x[0], x[1], x[2], x[3]}; }
#endif
INLINE void narrowed(uint8_t *y, ivec v) {
    for (int i = 0; i < VL; i++) y[i] = (uint8_t)v[i];
}
#endif

/* Whether x is greater than the best so far, or no number, and the best is one: then x is the best, and its number. */
INLINE void compete(vec x, int32_t number, int is_first, vec *best, ivec *winner) {
#if VL == 16
    const __m512 b = (__m512)*best;
    const __mmask16 wins = (_mm512_cmp_ps_mask((__m512)x, b, _CMP_NLE_UQ) & _mm512_cmp_ps_mask(b, b, _CMP_ORD_Q)) | -is_first;
    *best = (vec)_mm512_mask_mov_ps(b, wins, (__m512)x);
    *winner = (ivec)_mm512_mask_set1_epi32((__m512i)*winner, wins, number);
#else
    const ivec wins = (~(x <= *best) & (*best == *best)) | -is_first;
    *best = (vec)((wins & (ivec)x) | (~wins & (ivec)*best));
    *winner = (wins & ((ivec){0} + number)) | (~wins & *winner);
#endif
}

/* The greatest of a window, and the number of its tap, a byte:  places[p][k].   NaN is the greatest of all. */
static void pool_part(void *context, int64_t part, int64_t thread) {
    const Task *t = context;
    const Op *op = t->op;
    (void)thread;
    LINES(op->n * op->oh) COLUMNS(op->c) for (int64_t j0 = 0; j0 < op->ow; j0 += CHUNK) {
        const int64_t n = line / op->oh, i = line % op->oh, count = least(CHUNK, op->ow - j0);
        float y[CHUNK * NR];
        int64_t places[CHUNK];
        for (int64_t k = 0; k < count; k++) {
            vec left = {0}, right = {0};
            ivec left_winner = {0}, right_winner = {0};
            int is_first = 1;
            for (int64_t tap = 0; tap < op->taps; tap++) {
                const int64_t v = i * op->sy + t->distances[tap].down, u = (j0 + k) * op->sx + t->distances[tap].right;
                if (v < 0 || v >= op->h || u < 0 || u >= op->w) continue;
                const float *from = t->x + ((n * op->h + v) * op->w + u) * op->x_ld + c;
                compete(load(from), (int32_t)tap, is_first, &left, &left_winner);
                compete(load(from + VL), (int32_t)tap, is_first, &right, &right_winner);
                is_first = 0;
            }
            places[k] = line * op->ow + j0 + k;
            store(y + k * NR, left);
            store(y + k * NR + VL, right);
            narrowed(t->places + places[k] * op->places_ld + c, left_winner);
            narrowed(t->places + places[k] * op->places_ld + c + VL, right_winner);
        }
        put_rows(&t->out, places, count, c, y);
    }
}

void NAME(pool)(const Op *op, const Call *call) { by_lines(op, call, op->oh, op->ow * op->c * op->taps, pool_part); }

/* The other way:  d_x[p][k] = sum over the windows that hold p of  d_y[window][k] where p was the greatest.

   x here is d_y, and y is d_x; the window (i, j) of d_y begins at (i sy, j sx) of d_x. For places with the same
   remainder by the stride these windows lie at the same distances. */
static void unpool_part(void *context, int64_t part, int64_t thread) {
    const Task *t = context;
    const Op *op = t->op;
    (void)thread;
    LINES(op->n * op->oh) {
        const int64_t n = line / op->oh, v = line % op->oh;
        for (int64_t phase = 0; phase < op->sx; phase++) {
            int64_t lines[op->taps], rights[op->taps], taps[op->taps], known = 0;
            for (int64_t tap = 0; tap < op->taps; tap++) {
                const int64_t down = v - t->distances[tap].down, right = phase - t->distances[tap].right;
                if (down < 0 || down % op->sy || down / op->sy >= op->h || right % op->sx) continue;
                lines[known] = (n * op->h + down / op->sy) * op->w, rights[known] = right / op->sx, taps[known++] = tap;
            }
            COLUMNS(op->oc) for (int64_t u = phase, j = 0; u < op->ow;) {
                float d[CHUNK * NR];
                int64_t places[CHUNK], count = 0;
                for (; count < CHUNK && u < op->ow; u += op->sx, j++, count++) {
                    vec left = {0}, right = {0};
                    for (int64_t k = 0; k < known; k++) {
                        const int64_t column = j + rights[k];
                        if (column < 0 || column >= op->w) continue;
                        const uint8_t *winner = t->places + (lines[k] + column) * op->places_ld + c;
                        const float *from = t->x + (lines[k] + column) * op->x_ld + c;
                        const int32_t tap = (int32_t)taps[k];
                        left += where(widened(winner) == tap, load(from));
                        if (op->oc - c > VL)
                            right += where(widened(winner + VL) == tap, load(from + VL));
                    }
                    places[count] = line * op->ow + u;
                    store(d + count * NR, left);
                    store(d + count * NR + VL, right);
                }
                put_rows(&t->out, places, count, c, d);
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
