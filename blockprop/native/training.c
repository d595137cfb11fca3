/* Plain feed-forward networks learn: many steps of gradient descent on batches in one call.

   layer     z = W x + b,   y = f(z)
   errors    d_z = f'(z) d_y,   d_x = Wᵀ d_z
   update    V ← m V + (Σ d_z xᵀ + λ W),   W ← W − μ V,   Σ over the batch;  b and Σ d_z likewise

   The examples of a batch stand in panels of NR columns: panels[p][feature][column]. A vector then holds one feature of
   VL examples, so that softmax and losses need no sums across a vector, and W is read as it lies. The gradient wants
   the features of an example side by side, too: sheets[feature / NR][example][feature % NR]. In both, `stride` features
   have room, which is a multiple of NR.

   The panels are independent of one another until the update, the rows of W in the update: threads share out the one
   and then the other, and no number depends on how. Oracle: the formulas in float64,
   tests/trust/plain_networks.py. */
#include "pictures.h"

enum { CROSS_ENTROPY, SQUARED_ERROR };

/* The examples of panel p, from x; where it has none, zeros. */
static void gather(const Step *s, long p) {
    const Values *x = s->run->values;
    for (long i = 0; i < vectors(s, p) * VL; i++) {
        long example = s->first + p * NR + i;
        if (i < columns(s, p) && s->run->order) example = s->run->order[example];
        for (long f = 0; f < x->features; f += NR) {
            float *to = sheet(s, x, f, p) + i * NR;
            const float *from = s->run->x + example * x->features + f;
            if (i >= columns(s, p)) memset(to, 0, 4 * NR);
            else if (f + NR <= x->features) store(to, load(from)), store(to + VL, load(from + VL));
            else memcpy(to, from, 4 * (x->features - f));
        }
    }
    for (long f = 0; f < x->features; f += NR)
        transpose(sheet(s, x, f, p), x->panels + (p * x->stride + f) * NR, vectors(s, p) * VL, NR);
}

static void multiply_all(const Step *s, long l, long begin, long end, long first, long last) {
    const Layer *layer = s->run->layers + l;
    const Values *x = s->run->values + l, *y = x + 1;
    float c[MR * NR];
    for (long row = first, rows; row < last; row += rows) {
        rows = least(height(y->features), last - row);
        Left weight = {layer->weight + row * x->features, x->features, 1, x->features, 0};
        for (long p = begin; p < end; p++) {
            float *to = y->panels + (p * y->stride + row) * NR;
            by_rows(rows, vectors(s, p), weight, x->panels + p * x->stride * NR, NR, x->features, c);
            for (long r = 0; r < rows; r++)
                for (long v = 0; v < vectors(s, p) * VL; v += VL) {
                    vec bias = all(layer->bias ? layer->bias[row + r] : 0);
                    store(to + r * NR + v, activated(layer->activation, layer->slope, load(c + r * NR + v) + bias));
                }
        }
    }
}

/* What a layer gave, as the gradient of the next wants it, if that is Linear */
static void lay_out(const Step *s, const Values *y, long begin, long end) {
    for (long p = begin; p < end && y->sheets; p++)
        for (long f = 0; f < y->features; f += NR)
            transpose(y->panels + (p * y->stride + f) * NR, sheet(s, y, f, p), NR, vectors(s, p) * VL);
}

/* d_x of layer l, through the activation below it */
static void multiply_back(const Step *s, long l, long begin, long end, long first, long last) {
    const Layer *layer = s->run->layers + l, *below = layer - 1;
    const Values *x = s->run->values + l, *y = x + 1;
    float c[MR * NR];
    for (long row = first, rows; row < last; row += rows) {
        rows = least(height(x->features), last - row);
        Left weight = {layer->weight + row, 1, x->features, y->features, 0};
        for (long p = begin; p < end; p++) {
            float *to = x->panels + (p * x->stride + row) * NR;
            by_columns(rows, vectors(s, p), weight, y->errors + p * y->stride * NR, NR, y->features, c);
            for (long r = 0; r < rows; r++)
                for (long v = 0; v < vectors(s, p) * VL; v += VL) {
                    float *place = to + r * NR + v;
                    store(place, passed_back(below->activation, below->slope, load(place), load(c + r * NR + v)));
                }
        }
    }
}

/* Σ_c −t_c log softmax(y)_c over the examples of a panel, NaN for a target that is no class;  d_y = (softmax(y) − t) / n */
static double cross_entropy(const Step *s, long p) {
    const Values *y = s->run->values + s->run->depth;
    const int64_t *classes = (const int64_t *)s->run->targets + s->first + p * NR;
    float *panel = y->panels + p * y->stride * NR, totals[NR], distances[NR];
    int32_t targets[NR];
    for (long i = 0; i < NR; i++) {
        targets[i] = i < columns(s, p) ? (int32_t)classes[i] : -1;
        if (i < columns(s, p) && !(0 <= classes[i] && classes[i] < y->features)) return __builtin_nan("");
    }
    for (long v = 0; v < vectors(s, p) * VL; v += VL) {
        const ivec target = *(ivec *)(targets + v);
        float *at = panel + v;
        vec most = load(at), picked = {0}, total = {0};
        for (long c = 1; c < y->features; c++) {
            vec z = load(at + c * NR);
            most = choice(z > most, z, most);
        }
        for (long c = 0; c < y->features; c++) {
            vec z = load(at + c * NR), e = exponential(z - most);
            picked += where(target == (int32_t)c, z);
            total += e;
            store(at + c * NR, e);
        }
        store(totals + v, total);
        store(distances + v, most - picked);
        vec share = where(target >= 0, all(1.0f / (float)s->size)), factor = share / total;
        for (long c = 0; c < y->features; c++)
            store(at + c * NR, load(at + c * NR) * factor - where(target == (int32_t)c, share));
    }
    double product = 1, sum = 0;
    for (long i = 0; i < columns(s, p); i++) product *= totals[i], sum += distances[i];
    return logarithm(product) + sum;
}

/* Σ (y − t)² over a panel, t: (n, features);  d_z = f'(z) 2 (y − t) / elements */
static double squared_error(const Step *s, long p) {
    const Values *y = s->run->values + s->run->depth;
    const float *targets = (const float *)s->run->targets + (s->first + p * NR) * y->features;
    const Layer *last = s->run->layers + s->run->depth - 1;
    const float share = 2.0f / (float)(s->size * y->features);
    double sum = 0;
    for (long c = 0; c < y->features; c++) {
        float *at = y->panels + (p * y->stride + c) * NR, t[NR] = {0}, squares[NR];
        for (long i = 0; i < columns(s, p); i++) t[i] = targets[i * y->features + c];
        for (long v = 0; v < vectors(s, p) * VL; v += VL) {
            vec z = load(at + v), e = z - load(t + v);
            store(squares + v, e * e);
            store(at + v, passed_back(last->activation, last->slope, z, e * share));
        }
        for (long i = 0; i < columns(s, p); i++) sum += squares[i];
        for (long i = columns(s, p); i < NR; i++) at[i] = 0;
    }
    return sum;
}

/* Of layer l rows first … last of what a pass gives, for panels begin … end: features, or channels of pictures */
static void pass(const Step *s, long l, long back, long begin, long end, long first, long last) {
    const long kind = s->run->layers[l].kind;
    if (kind == MAXIMUM) (back ? pool_back : pool)(s, l, begin, end, first, last);
    else if (kind == CONVOLUTION) (back ? convolve_back : convolve)(s, l, begin, end, first, last);
    else (back ? multiply_back : multiply_all)(s, l, begin, end, first, last);
}

static long rows_of(const Step *s, long l, long back) {
    const Layer *layer = s->run->layers + l;
    const Values *given = s->run->values + l + !back;
    if (layer->kind == LINEAR) return given->features;
    return back || layer->kind == MAXIMUM ? layer->channels : given->features / (layer->out_height * layer->out_width);
}

static void loss(const Step *s, long begin, long end) {
    for (long p = begin; p < end; p++) s->run->sums[p] = s->run->loss ? squared_error(s, p) : cross_entropy(s, p);
}

/* Both passes for panels begin … end */
static void both_passes(int64_t begin, int64_t end, void *step) {
    const Step *s = step;
    const long depth = s->run->depth;
    for (long p = begin; p < end; p++) gather(s, p);
    for (long l = 0; l < depth; l++) {
        pass(s, l, 0, begin, end, 0, rows_of(s, l, 0));
        lay_out(s, s->run->values + l + 1, begin, end);
    }
    loss(s, begin, end);
    for (long l = depth - 1; l > 0; l--) pass(s, l, 1, begin, end, 0, rows_of(s, l, 1));
}

/* Parts begin … end of the rows of one layer's pass, of as many parts as threads; first … last are those rows. */
INLINE void rows_of_parts(const Step *s, long rows, int64_t begin, int64_t end, long *first, long *last) {
    const long threads = s->run->threads, high = least(height(rows), (rows + threads - 1) / threads);
    const long parts = (rows + high - 1) / high;
    *first = least(parts * begin / threads * high, rows);
    *last = least(parts * end / threads * high, rows);
}

static void part_of_pass(int64_t begin, int64_t end, void *step) {
    const Step *s = step;
    long first, last;
    rows_of_parts(s, rows_of(s, s->layer, s->back), begin, end, &first, &last);
    pass(s, s->layer, s->back, 0, s->panels, first, last);
}

/* The update of rows first … last of W, in blocks of `high` */
static void multiply_update(const Step *s, long l, long first, long last, long high) {
    const Layer *layer = s->run->layers + l;
    const Values *x = s->run->values + l, *y = x + 1;
    const long in = x->features;
    float c[MR * NR];
    for (long column = 0; column < in; column += NR)
        for (long row = first, rows; row < last; row += rows) {
            rows = least(high, last - row);
            Left errors = {y->errors + row * NR, NR, 1, NR, y->stride * NR};
            for (long r = 0; r < rows; r++) fetch(layer->weight + (row + r) * in + column);
            by_rows(rows, in - column > VL ? 2 : 1, errors, sheet(s, x, column, 0), NR, s->size, c);
            for (long r = 0; r < rows; r++) {
                long at = (row + r) * in + column;
                float *velocity = layer->weight_velocity ? layer->weight_velocity + at : 0;
                descend(s->run, layer->weight + at, velocity, c + r * NR, least(NR, in - column));
            }
        }
}

/* Parts begin … end of the update, as many as threads: each has its share of the outputs of every layer. */
static void update(int64_t begin, int64_t end, void *step) {
    const Step *s = step;
    const Training *run = s->run;
    for (long l = 0; l < run->depth; l++) {
        const Layer *layer = run->layers + l;
        const Values *y = run->values + l + 1;
        if (layer->kind == MAXIMUM) continue;
        const long pixels = layer->kind == CONVOLUTION ? layer->out_height * layer->out_width : 1;
        const long rows = y->features / pixels, high = height(rows);
        long first, last;
        rows_of_parts(s, rows, begin, end, &first, &last);
        if (layer->kind == CONVOLUTION) convolve_update(s, l, first, last, high);
        else multiply_update(s, l, first, last, high);
        for (long row = first; layer->bias && row < last; row++) {
            float gradient = total(s, y, row * pixels, pixels);
            descend(run, layer->bias + row, layer->bias_velocity ? layer->bias_velocity + row : 0, &gradient, 1);
        }
    }
}

/* Not 0 if torch's threads failed. */
static int share_out(const Training *run, int64_t count, Part part, Step *step) {
    if (run->threads > 1 && count > 1) return run->parallel(0, count, 1, part, step);
    part(0, count, step);
    return 0;
}

/* Both passes where there are more threads than panels: they share out the rows of each layer. */
static int both_passes_by_rows(Step *s) {
    const Training *run = s->run;
    for (long p = 0; p < s->panels; p++) gather(s, p);
    for (s->layer = s->back = 0; s->layer < run->depth; s->layer++) {
        if (share_out(run, run->threads, part_of_pass, s)) return 1;
        lay_out(s, run->values + s->layer + 1, 0, s->panels);
    }
    loss(s, 0, s->panels);
    for (s->layer = run->depth - 1, s->back = 1; s->layer > 0; s->layer--)
        if (share_out(run, run->threads, part_of_pass, s)) return 1;
    return 0;
}

/* Makes the steps; returns how many, −1 if torch's threads failed. It stops before the update of one whose loss is no
   finite number. */
int64_t NAME(train)(const Training *run) {
    Step s = {.run = run};
    const int64_t features = run->values[run->depth].features;
    for (long step = 0; step < run->steps; step++, s.first += s.size) {
        s.size = run->sizes[step];
        s.panels = (s.size + NR - 1) / NR;
        const int by_rows = run->threads > s.panels;
        if (by_rows ? both_passes_by_rows(&s) : share_out(run, s.panels, both_passes, &s)) return -1;
        double sum = 0;
        for (long p = 0; p < s.panels; p++) sum += run->sums[p];
        float value = (float)(sum / (double)(run->loss ? s.size * features : s.size));
        if (value - value != 0) return step;
        run->losses[step] = value;
        if (share_out(run, run->threads, update, &s)) return -1;
    }
    return run->steps;
}

/* How many examples stand in a panel. */
int64_t NAME(panel)(void) { return NR; }
