/* The loop over tensors, blocks and threads that the files of this folder share; see the header. */
#define _GNU_SOURCE
#include "_stepforge.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    BLOCK = 512,      /* elements that are widened at a time, so that they stay in the cache */
    LEAST = 1 << 16,  /* elements of a thread: for fewer, waking it takes longer */
    LARGE = 1 << 12,  /* elements from which on it pays to begin at a line of the cache */
    PARTS = 8,        /* of the work, for each thread: one that is late leaves parts to others */
    LINE = 64         /* elements that parts are multiples of, so that no two share a cache line */
};

static int size_of(int format)
{
    return format == STEPFORGE_FLOAT64 ? 8 : format == STEPFORGE_FLOAT32 ? 4 : 2;
}

/* Formats as arrays. */
#define COPY(name, to_type, from_type, expression)                                                 \
    static void name(void *to, const void *from, int64_t n)                                        \
    {                                                                                              \
        to_type *restrict out = to;                                                                \
        const from_type *restrict in = from;                                                       \
        for (int64_t i = 0; i < n; i++) {                                                          \
            from_type x = in[i];                                                                   \
            out[i] = (to_type)(expression);                                                        \
        }                                                                                          \
    }

/* A double on its way to float16: a float whose last bit tells that there was more. */
static inline float odd(double x)
{
    float near = (float)x;
    uint32_t bits = bits_of_float32(near);
    double difference = x - (double)near;
    int changes = difference != 0 && (bits & 1) == 0 && (bits & 0x7FFFFFFF) < 0x7F800000;
    int is_above = (difference < 0) != (near < 0);
    uint32_t moved = near == 0 ? (bits_of_float32((float)copysign(1.0, x)) & 0x80000000) | 1
                               : (is_above ? bits - 1 : bits + 1);
    return float32_of_bits(changes ? moved : bits);
}

COPY(float_of_double, float, double, x)
COPY(float_of_bfloat16, float, uint16_t, stepforge_of_bfloat16(x))
COPY(float_of_float16, float, uint16_t, stepforge_of_float16(x))
COPY(double_of_float, double, float, x)
COPY(double_of_bfloat16, double, uint16_t, stepforge_of_bfloat16(x))
COPY(double_of_float16, double, uint16_t, stepforge_of_float16(x))
COPY(bfloat16_of_float, uint16_t, float, stepforge_bfloat16(x))
COPY(float16_of_float, uint16_t, float, stepforge_float16(x))
COPY(bfloat16_of_double, uint16_t, double, stepforge_bfloat16((float)x))
COPY(float16_of_double, uint16_t, double, stepforge_float16(odd(x)))

typedef void convert(void *to, const void *from, int64_t n);

/* By what is computed in, and by the format of the tensor; the others need no conversion. */
static convert *const widen[2][4] = {
    {NULL, float_of_double, float_of_bfloat16, float_of_float16},
    {double_of_float, NULL, double_of_bfloat16, double_of_float16},
};
static convert *const narrow[2][4] = {
    {NULL, double_of_float, bfloat16_of_float, float16_of_float},
    {float_of_double, NULL, bfloat16_of_double, float16_of_double},
};

struct work {
    const struct stepforge_kernel *kernel;
    const char *rows;
    int64_t count;
    const unsigned char *types;
    const double *numbers;
    unsigned options;
};

/* Elements from `first` on of one parameter. */
static void step_tensor(const struct work *work, void *const *row, int64_t first, int64_t n)
{
    const struct stepforge_kernel *kernel = work->kernel;
    int tensors = kernel->tensors, mixed = 0, wide = work->types[0] == STEPFORGE_FLOAT64;
    void *at[tensors];
    for (int k = 0; k < tensors; k++) {
        mixed |= row[k] && work->types[k] != (wide ? STEPFORGE_FLOAT64 : STEPFORGE_FLOAT32);
    }
    int64_t most = mixed ? BLOCK : n;
    double buffers[mixed ? tensors : 1][BLOCK];
    int64_t now;
    for (int64_t done = 0; done < n; done += now) {
        now = n - done < most ? n - done : most;
        if (done == 0 && !mixed && n >= LARGE) {
            int size = wide ? 8 : 4;
            uintptr_t beyond = ((uintptr_t)row[0] + (uintptr_t)first * size) % LINE;
            now = beyond ? (int64_t)(LINE - beyond) / size : now;
        }
        for (int k = 0; k < tensors; k++) {
            int format = work->types[k];
            char *place = row[k] ? (char *)row[k] + (first + done) * size_of(format) : NULL;
            at[k] = place;
            if (place && narrow[wide][format]) {
                at[k] = buffers[k];
                if (kernel->access[k] & STEPFORGE_LOADED) {
                    widen[wide][format](at[k], place, now);
                }
            }
        }
        (wide ? kernel->float64 : kernel->float32)(now, at, work->numbers, work->options,
                                                   work->types[0]);
        for (int k = 0; k < tensors; k++) {
            int format = work->types[k];
            if (row[k] && kernel->access[k] & STEPFORGE_STORED && narrow[wide][format]) {
                narrow[wide][format]((char *)row[k] + (first + done) * size_of(format), at[k], now);
            }
        }
    }
}

/* The elements from `first` to `last`, counted through all tensors. */
static void step_part(const struct work *work, int64_t first, int64_t last)
{
    size_t width = (size_t)work->kernel->tensors + 1;
    int64_t before = 0;
    for (int64_t index = 0; index < work->count && before < last; index++) {
        void *row[width];
        int64_t n;
        memcpy(row, work->rows + (size_t)index * width * 8, width * 8);
        memcpy(&n, &row[width - 1], sizeof n);
        int64_t from = first > before ? first - before : 0;
        int64_t to = last - before < n ? last - before : n;
        if (from < to) {
            step_tensor(work, row, from, to - from);
        }
        before += n;
    }
}

/* Threads that wait for work, one step at a time. A caller that finds them busy works alone. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t begin, end;
    int started;      /* threads there are */
    int wanted;       /* threads that may still join this step */
    int working;      /* threads that have joined and not finished */
    int busy;         /* a caller has a step */
    const struct work *work;
    int64_t total, part;
    _Atomic int64_t next;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .begin = PTHREAD_COND_INITIALIZER,
          .end = PTHREAD_COND_INITIALIZER};

static void step_parts(void)
{
    for (;;) {
        int64_t first = atomic_fetch_add(&pool.next, pool.part);
        if (first >= pool.total) {
            return;
        }
        int64_t last = pool.total - first < pool.part ? pool.total : first + pool.part;
        step_part(pool.work, first, last);
    }
}

static void *thread(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        while (pool.wanted == 0) {
            pthread_cond_wait(&pool.begin, &pool.lock);
        }
        pool.wanted--;
        pool.working++;
        pthread_mutex_unlock(&pool.lock);
        step_parts();
        pthread_mutex_lock(&pool.lock);
        if (--pool.working == 0) {
            pthread_cond_signal(&pool.end);
        }
    }
    return NULL;
}

/* A child has none of its parent's threads, and a fork may come while they work. */
static void in_child(void)
{
    static const pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static const pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
    pool.lock = lock;
    pool.begin = pool.end = condition;
    pool.started = pool.wanted = pool.working = pool.busy = 0;
}

static void once(void) { pthread_atfork(NULL, NULL, in_child); }

/* Starts threads until there are so many; as many as the system has to give. */
static void start(int threads)
{
    static pthread_once_t is_known = PTHREAD_ONCE_INIT;
    sigset_t all, old;
    pthread_attr_t detached;
    if (pool.started >= threads) {
        return;
    }
    pthread_once(&is_known, once);
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    sigfillset(&all); /* signals are for the threads of the program */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (pool.started < threads) {
        pthread_t created;
        if (pthread_create(&created, &detached, thread, NULL) != 0) {
            break;
        }
        pool.started++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&detached);
}

int stepforge_step(const struct stepforge_kernel *kernel, const void *rows, int64_t count,
                   const unsigned char *types, const double *numbers, unsigned options,
                   int threads)
{
    struct work work = {kernel, rows, count, types, numbers, options};
    size_t width = (size_t)kernel->tensors + 1;
    int64_t total = 0;
    for (int k = 0; k < kernel->tensors; k++) {
        if (types[k] > STEPFORGE_FLOAT16) {
            return -1;
        }
    }
    for (int64_t index = 0; index < count; index++) {
        int64_t n;
        memcpy(&n, work.rows + ((size_t)index * width + width - 1) * 8, sizeof n);
        total += n;
    }
    if (threads > total / LEAST) {
        threads = (int)(total / LEAST);
    }
    if (threads <= 1) {
        step_part(&work, 0, total);
        return 0;
    }
    pthread_mutex_lock(&pool.lock);
    int is_mine = !pool.busy;
    if (is_mine) {
        int64_t part = total / ((int64_t)threads * PARTS) + 1;
        part = part < LEAST / 2 ? LEAST / 2 : part;
        pool.busy = 1;
        pool.work = &work;
        pool.total = total;
        pool.part = (part + LINE - 1) / LINE * LINE;
        atomic_store(&pool.next, 0);
        start(threads - 1);
        pool.wanted = threads - 1 < pool.started ? threads - 1 : pool.started;
        pthread_cond_broadcast(&pool.begin);
    }
    pthread_mutex_unlock(&pool.lock);
    if (!is_mine) {
        step_part(&work, 0, total);
        return 0;
    }
    step_parts();
    pthread_mutex_lock(&pool.lock);
    pool.wanted = 0; /* who has not come yet need not */
    while (pool.working > 0) {
        pthread_cond_wait(&pool.end, &pool.lock);
    }
    pool.busy = 0;
    pthread_mutex_unlock(&pool.lock);
    return 0;
}

void stepforge_count(void *const *counters, int64_t count, int wide)
{
    for (int64_t index = 0; index < count; index++) {
        if (wide) {
            *(double *)counters[index] += 1;
        } else {
            *(float *)counters[index] += 1;
        }
    }
}
