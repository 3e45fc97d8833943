/* A map over inputs that are made one by one: never more than buffersize of
 * them are ahead of the results, which come in the order of the inputs. */
#include <forkpool.h>
#include <stdio.h>

struct inputs {
    int next, end;
    int taken, most; /* inputs made, less results read: now and at most */
};

static int
is_prime(pool_call_t *call)
{
    int n, rc = pool_call_args(call, "i", &n);

    if (rc < 0)
        return rc;
    for (int d = 2; d * d <= n; d++)
        if (n % d == 0)
            return pool_call_return(call, "ib", n, false);
    return pool_call_return(call, "ib", n, n > 1);
}

/* 1 with the arguments of one call, 0 at the end. */
static int
next_input(void *data, pool_enc_t *arguments)
{
    struct inputs *in = data;

    if (in->next == in->end)
        return 0;
    pool_enc_int(arguments, in->next++);
    if (++in->taken > in->most)
        in->most = in->taken;
    return 1;
}

int
main(void)
{
    pool_map_options_t options = POOL_MAP_OPTIONS_INIT;
    struct inputs in = {.next = 1000, .end = 1100};
    pool_map_t *map;
    pool_t *pool;
    bool prime;
    int n, rc;

    options.chunksize = 4;   /* inputs that one task carries */
    options.buffersize = 16; /* inputs taken ahead of the results */
    if (pool_create(&pool, NULL) < 0 ||
        pool_map(pool, &map, &options, is_prime, next_input, &in) < 0) {
        fprintf(stderr, "%s\n", pool_errmsg());
        return 1;
    }
    while ((rc = pool_map_next(map, -1, "ib", &n, &prime)) == 0) {
        in.taken--;
        if (prime)
            printf("%d\n", n);
    }
    if (rc != POOL_ENOENT) /* the end of the inputs */
        fprintf(stderr, "%s\n", pool_errmsg());
    printf("inputs ahead: at most %s\n", in.most <= 17 ? "buffersize" : "?");
    pool_map_free(map);
    pool_destroy(pool);
    return rc == POOL_ENOENT ? 0 : 1;
}
