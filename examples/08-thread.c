/* Thread drive: a thread of the library's runs the pool, and any thread of the
 * program may submit and wait. */
#include <forkpool.h>
#include <pthread.h>
#include <stdio.h>

enum { TASKS = 1000 };

struct client {
    pool_t *pool;
    int first; /* of the numbers that it has squared */
    int64_t sum;
    int rc;
};

static int
square(pool_call_t *call)
{
    int64_t n;
    int rc = pool_call_args(call, "x", &n);

    return rc < 0 ? rc : pool_call_return(call, "x", n * n);
}

static void *
run(void *data)
{
    struct client *client = data;
    pool_future_t *futures[TASKS];
    int n = 0;

    while (n < TASKS && client->rc == 0) {
        int64_t value = client->first + n;
        client->rc = pool_submit(client->pool, &futures[n], square, "x", value);
        n += client->rc == 0;
    }
    for (int i = 0; i < n; i++) {
        int64_t value = 0;
        int rc = pool_future_result(futures[i], -1, "x", &value);
        client->rc = rc < 0 ? rc : client->rc;
        client->sum += value;
        pool_future_free(futures[i]);
    }
    return NULL;
}

int
main(void)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    struct client clients[2];
    pthread_t threads[2];
    pool_t *pool;

    options.workers = 2;
    options.drive = POOL_DRIVE_THREAD;
    /* Before the threads start, so that no lock is held when it forks. */
    if (pool_create(&pool, &options) < 0) {
        fprintf(stderr, "%s\n", pool_errmsg());
        return 1;
    }
    for (int i = 0; i < 2; i++) {
        clients[i] = (struct client){.pool = pool, .first = i * TASKS};
        if (pthread_create(&threads[i], NULL, run, &clients[i]) != 0)
            return 1;
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        printf("squares from %d on: %lld (%s)\n", clients[i].first,
            (long long)clients[i].sum, pool_strerror(clients[i].rc));
    }
    pool_destroy(pool);
    return 0;
}
