/* Batch normalization of pictures whose channels lie beside each other, with the rectifier behind it, and the way back.

       mean = sum of x / rows      variance = sum of (x - mean)^2 / rows
       y    = (x - mean) scale + shift,   or the larger of that and 0
       sums = sum of d,  sum of d (x - mean)      d: d_y, but 0 where y was rectified
       d_x  = scale (d - first - (x - mean) second)

   scale = weight / sigma, shift = bias, first = sum of d / rows, second = sum of d (x - mean) / (rows sigma^2), all of them
   for each channel. A row is a place of a picture. Sums are found in parts, whose sizes do not depend on how many threads
   there are, and added up in double precision. */
#include "op.h"

enum { PART = 2048, CHUNK = 256, WIDE = 4 }; /* rows of a part, as Python knows; of a sum in floats; vectors of channels at once */

typedef struct {
    const float *x, *d_y, *mean, *scale, *shift, *first, *second;
    float *y;
    double *sums; /* of each part two for each channel */
    int64_t rows, channels, rectifies;
} Task;

INLINE vec some(const float *x, int64_t count) { return count >= VL ? load(x) : load_some(x, count); }

/* What there is of a vector of channels; nothing where nobody asks. */
typedef struct {
    vec mean, scale, shift;
} Channels;

INLINE Channels channels_of(const Task *t, int64_t c, int64_t count) {
    Channels of = {some(t->mean + c, count), {0}, {0}};
    if (t->scale) of.scale = some(t->scale + c, count), of.shift = some(t->shift + c, count);
    return of;
}

INLINE vec errors(const Task *t, int64_t i, int64_t count, vec x, const Channels *of) {
    const vec d = some(t->d_y + i, count);
    if (!t->rectifies) return d;
    return where(~((x - of->mean) * of->scale + of->shift <= 0), d);
}

/* Sums of `vectors` vectors of channels from c on, over some rows: of v and v w, with  v = w = x - mean,  or  v = d,
   w = x - mean.   is_whole: whether there are as many channels */
INLINE void add_up(const Task *t, const int vectors, const int is_whole, int64_t c, int64_t row, int64_t end, double *sums) {
    const int64_t count = is_whole ? VL : least(VL, t->channels - c);
    vec one[WIDE], two[WIDE];
    Channels of[WIDE];
    for (int k = 0; k < WIDE; k++) one[k] = two[k] = (vec){0};
    for (int k = 0; k < vectors; k++) of[k] = channels_of(t, c + k * VL, count);
    for (; row < end; row++)
        for (int k = 0; k < vectors; k++) {
            const int64_t i = row * t->channels + c + k * VL;
            const vec x = some(t->x + i, count), from_mean = x - of[k].mean;
            vec v = from_mean;
            if (t->d_y) v = errors(t, i, count, x, &of[k]);
            one[k] += v, two[k] += v * from_mean;
        }
    for (int k = 0; k < vectors; k++)
        for (int64_t j = 0; j < count; j++) {
            sums[c + k * VL + j] += one[k][j];
            sums[t->channels + c + k * VL + j] += two[k][j];
        }
}

static void sums_part(void *context, int64_t part, int64_t thread) {
    const Task *t = context;
    (void)thread;
    double *sums = t->sums + part * 2 * t->channels;
    memset(sums, 0, 16 * t->channels);
    const int64_t last = least((part + 1) * PART, t->rows);
    for (int64_t row = part * PART; row < last; row += CHUNK)
        for (int64_t c = 0; c < t->channels; c += WIDE * VL) {
            const int64_t end = least(row + CHUNK, last), whole = (t->channels - c) / VL;
            if (whole >= 4) add_up(t, 4, 1, c, row, end, sums);
            else if (whole == 3) add_up(t, 3, 1, c, row, end, sums);
            else if (whole == 2) add_up(t, 2, 1, c, row, end, sums);
            else if (whole == 1) add_up(t, 1, 1, c, row, end, sums);
            if (whole < 4 && (t->channels - c) % VL) add_up(t, 1, 0, c + whole * VL, row, end, sums);
        }
}

/* What x and mean hold, and d_y if there is any, summed up, into the first part's sums. */
static void sum_up(Task *t, int64_t threads, Parallel parallel) {
    const Call call = {0, threads, parallel};
    const int64_t parts = up(t->rows, PART);
    NAME(share)(&call, parts, sums_part, t);
    for (int64_t part = 1; part < parts; part++)
        for (int64_t i = 0; i < 2 * t->channels; i++) t->sums[i] += t->sums[part * 2 * t->channels + i];
}

/* Distances are taken from the first row, which is near enough to the mean for the difference of squares to hold. */
void NAME(statistics)(const float *x, int64_t rows, int64_t channels, float *mean, float *variance, double *sums, int64_t threads, Parallel parallel) {
    Task t = {.x = x, .mean = x, .rows = rows, .channels = channels, .sums = sums};
    sum_up(&t, threads, parallel);
    for (int64_t c = 0; c < channels; c++) {
        const double from_first = sums[c] / (double)rows, square = sums[channels + c] / (double)rows;
        mean[c] = (float)(x[c] + from_first);
        variance[c] = (float)(square - from_first * from_first);
    }
}

static void forward_part(void *context, int64_t part, int64_t thread) {
    const Task *t = context;
    (void)thread;
    for (int64_t row = part * CHUNK; row < least((part + 1) * CHUNK, t->rows); row++)
        for (int64_t c = 0; c < t->channels; c += VL) {
            const int64_t i = row * t->channels + c, count = t->channels - c;
            const Channels of = channels_of(t, c, count);
            vec y = (some(t->x + i, count) - of.mean) * of.scale + of.shift;
            if (t->rectifies) y = rectified(y);
            if (count >= VL) store(t->y + i, y);
            else store_some(t->y + i, y, count);
        }
}

void NAME(normalize)(const float *x, int64_t rows, int64_t channels, const float *mean, const float *scale, const float *shift, int64_t rectifies, float *y, int64_t threads, Parallel parallel) {
    Task t = {.x = x, .mean = mean, .scale = scale, .shift = shift, .y = y, .rows = rows, .channels = channels, .rectifies = rectifies};
    const Call call = {0, threads, parallel};
    NAME(share)(&call, up(rows, CHUNK), forward_part, &t);
}

void NAME(normalize_sums)(const float *x, const float *d_y, int64_t rows, int64_t channels, const float *mean, const float *scale, const float *shift, int64_t rectifies, double *sums, int64_t threads, Parallel parallel) {
    Task t = {.x = x, .d_y = d_y, .mean = mean, .scale = scale, .shift = shift, .sums = sums, .rows = rows, .channels = channels, .rectifies = rectifies};
    sum_up(&t, threads, parallel);
}

static void back_part(void *context, int64_t part, int64_t thread) {
    const Task *t = context;
    (void)thread;
    for (int64_t row = part * CHUNK; row < least((part + 1) * CHUNK, t->rows); row++)
        for (int64_t c = 0; c < t->channels; c += VL) {
            const int64_t i = row * t->channels + c, count = t->channels - c;
            const Channels of = channels_of(t, c, count);
            const vec x = some(t->x + i, count), d = errors(t, i, count, x, &of) - some(t->first + c, count);
            const vec d_x = (d - (x - of.mean) * some(t->second + c, count)) * of.scale;
            if (count >= VL) store(t->y + i, d_x);
            else store_some(t->y + i, d_x, count);
        }
}

void NAME(normalize_back)(const float *x, const float *d_y, int64_t rows, int64_t channels, const float *mean, const float *scale, const float *shift, const float *first, const float *second, int64_t rectifies, float *d_x, int64_t threads, Parallel parallel) {
    Task t = {x, d_y, mean, scale, shift, first, second, d_x, 0, rows, channels, rectifies};
    const Call call = {0, threads, parallel};
    NAME(share)(&call, up(rows, CHUNK), back_part, &t);
}
