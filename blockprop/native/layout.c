/* Weights that change, laid out as the kernels take them:  panels[j / NR][t][k][j % NR] = weight[j column_step + k channel_step + t']

   for columns j, channels k and taps t, with t' = t, or the other way round where a convolution's errors are wanted. There are
   whole panels, with zeros for columns that there are not. */
#include "op.h"

typedef struct {
    const float *weight;
    float *panels;
    int64_t columns, channels, taps, column_step, channel_step, is_turned;
} Task;

static void lay_out_part(void *context, int64_t panel, int64_t thread) {
    const Task *t = context;
    (void)thread;
    const int64_t count = least(NR, t->columns - panel * NR);
    float *to = t->panels + panel * t->taps * t->channels * NR;
    if (count < NR) memset(to, 0, 4 * t->taps * t->channels * NR);
    for (int64_t k = 0; k < t->channels; k++)
        for (int64_t j = 0; j < count; j++) {
            const float *from = t->weight + (panel * NR + j) * t->column_step + k * t->channel_step;
            for (int64_t tap = 0; tap < t->taps; tap++)
                to[((t->is_turned ? t->taps - 1 - tap : tap) * t->channels + k) * NR + j] = from[tap];
        }
}

void NAME(lay_out)(const float *weight, float *panels, int64_t columns, int64_t channels, int64_t taps, int64_t column_step, int64_t channel_step, int64_t is_turned, int64_t threads, Parallel parallel) {
    const Call call = {0, threads, parallel};
    Task t = {weight, panels, columns, channels, taps, column_step, channel_step, is_turned};
    NAME(share)(&call, up(columns, NR), lay_out_part, &t);
}
