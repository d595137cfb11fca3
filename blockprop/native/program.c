/* A program, one operation after the other. */
#include <stdatomic.h>

#include "op.h"

typedef struct {
    void (*f)(void *, int64_t, int64_t);
    void *context;
    int64_t parts;
    atomic_llong next;
} Shared;

static void take(int64_t begin, int64_t end, void *context) {
    Shared *shared = context;
    for (int64_t thread = begin; thread < end; thread++)
        for (int64_t part; (part = atomic_fetch_add(&shared->next, 1)) < shared->parts;)
            shared->f(shared->context, part, thread);
}

void NAME(share)(const Call *call, int64_t parts, void (*f)(void *, int64_t, int64_t), void *context) {
    const int64_t threads = parts < call->threads ? parts : call->threads;
    Shared shared = {f, context, parts, 0};
    if (threads < 2) take(0, 1, &shared);
    else call->parallel(0, threads, 1, take, &shared);
}

enum { CONVOLVE, WINOGRAD, SPREAD, DEPTHWISE, POOL, UNPOOL, AVERAGE, PASS, GRADIENT };

/* Do what they say, in their order. */
void NAME(run)(const Op *ops, int64_t count, char *const *pieces, int64_t threads, Parallel parallel) {
    const Call call = {pieces, threads, parallel};
    for (const Op *op = ops; op < ops + count; op++) switch (op->kind) {
            case CONVOLVE: NAME(convolve)(op, &call); break;
            case WINOGRAD: NAME(winograd)(op, &call); break;
            case SPREAD: NAME(spread)(op, &call); break;
            case DEPTHWISE: NAME(depthwise)(op, &call); break;
            case POOL: NAME(pool)(op, &call); break;
            case UNPOOL: NAME(unpool)(op, &call); break;
            case AVERAGE: NAME(average)(op, &call); break;
            case PASS: NAME(pass)(op, &call); break;
            case GRADIENT: NAME(winograd_gradient)(op, &call); break;
        }
}

/* Bytes of scratch memory that an operation needs. */
int64_t NAME(scratch)(const Op *op, int64_t threads) {
    switch (op->kind) {
        case CONVOLVE: return NAME(convolve_scratch)(op, threads);
        case WINOGRAD: return NAME(winograd_scratch)(op, threads);
        case SPREAD: return NAME(spread_scratch)(op, threads);
        case GRADIENT: return NAME(winograd_gradient_scratch)(op);
        default: return 0;
    }
}

/* What Python must know: the floats of a vector, and the bytes of an operation. */
int64_t NAME(vector)(void) { return VL; }
int64_t NAME(op_size)(void) { return sizeof(Op); }
