/* Sums over the bits of memory, by which a change is noticed:  sum over i of  number i * m(i)  modulo 2^64, numbers being
   whole ones of four bytes, without sign. m(i) is another one for each i, and never 0: no change of one number, and no
   exchange of two, leaves the sum as it was. */
#include "op.h"

INLINE uint64_t share_of(uint32_t number, uint32_t i) {
    uint32_t m = (i + 1) * 0x9E3779B1u; /* odd, so that no two are equal */
    m ^= m >> 16;                       /* nor any two as far apart as two others */
    return (uint64_t)number * m;
}

typedef struct {
    const char *const *memory;
    const int64_t *bytes;
    uint64_t *sums;
} Task;

static void sum_part(void *context, int64_t part, int64_t thread) {
    const Task *t = context;
    (void)thread;
    const char *from = t->memory[part];
    uint64_t sum[16] = {0};
    int64_t i = 0;
    for (; i + 64 <= t->bytes[part]; i += 64) {
        uint32_t numbers[16];
        memcpy(numbers, from + i, 64);
        for (int k = 0; k < 16; k++) sum[k] += share_of(numbers[k], (uint32_t)(i / 4 + k));
    }
    for (; i < t->bytes[part]; i += 4) {
        uint32_t number = 0;
        memcpy(&number, from + i, t->bytes[part] - i < 4 ? t->bytes[part] - i : 4);
        sum[0] += share_of(number, (uint32_t)(i / 4));
    }
    t->sums[part] = 0;
    for (int k = 0; k < 16; k++) t->sums[part] += sum[k];
}

/* sums[i] of bytes[i] bytes from memory[i], for all i < count. */
void NAME(sum_words)(int64_t count, const char *const *memory, const int64_t *bytes, uint64_t *sums, int64_t threads, Parallel parallel) {
    const Call call = {0, threads, parallel};
    Task task = {memory, bytes, sums};
    NAME(share)(&call, count, sum_part, &task);
}
