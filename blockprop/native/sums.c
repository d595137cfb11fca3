/* Sums over the bits of memory, by which a change is noticed: whole numbers of eight bytes, modulo 2^64. */
#include "op.h"

typedef struct {
    const char *const *memory;
    const int64_t *bytes;
    uint64_t *sums;
} Task;

static void sum_part(void *context, int64_t part, int64_t thread) {
    const Task *t = context;
    (void)thread;
    const char *from = t->memory[part];
    uint64_t sum[8] = {0}, last = 0;
    int64_t i = 0;
    for (; i + 64 <= t->bytes[part]; i += 64) {
        uint64_t words[8];
        memcpy(words, from + i, 64);
        for (int k = 0; k < 8; k++) sum[k] += words[k];
    }
    for (; i < t->bytes[part]; i += 8, sum[0] += last) {
        last = 0;
        memcpy(&last, from + i, t->bytes[part] - i < 8 ? t->bytes[part] - i : 8);
    }
    t->sums[part] = 0;
    for (int k = 0; k < 8; k++) t->sums[part] += sum[k];
}

/* sums[i] of bytes[i] bytes from memory[i], for all i < count. */
void NAME(sum_words)(int64_t count, const char *const *memory, const int64_t *bytes, uint64_t *sums, int64_t threads, Parallel parallel) {
    const Call call = {0, threads, parallel};
    Task task = {memory, bytes, sums};
    NAME(share)(&call, count, sum_part, &task);
}
