// The headers compile as C++, and the library can be called from it.
#include <cstddef>
#include <cstdint>

#include <forkpool.h>
#include <forkpool_mpi.h>

static int
twice(pool_call_t *call)
{
    double x = 0;
    int rc = pool_call_args(call, "d", &x);

    return rc < 0 ? rc : pool_call_return(call, "d", 2 * x);
}

// The codec's inline parts.
static bool
codec()
{
    unsigned char bytes[32];
    pool_enc_t enc;
    pool_dec_t dec;
    std::uint64_t count = 0;
    std::int64_t n = 0;
    double x = 0;
    const char *text = nullptr;
    std::size_t size = 0;

    pool_enc_init(&enc, bytes, sizeof bytes);
    pool_enc_array(&enc, 3);
    pool_enc_int(&enc, -1000);
    pool_enc_double(&enc, 0.1);
    pool_enc_text(&enc, "abc", 3);
    if (pool_enc_finish(&enc, &size) != 0)
        return false;
    pool_dec_init(&dec, bytes, size);
    return pool_dec_array(&dec, &count) == 0 && count == 3 &&
           pool_dec_int(&dec, &n) == 0 && n == -1000 &&
           pool_dec_double(&dec, &x) == 0 && x == 0.1 &&
           pool_dec_text(&dec, &text, &size) == 0 && size == 3 &&
           pool_dec_finish(&dec) == 0;
}

int
main()
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_job_t job = POOL_JOB_INIT;
    pool_t *pool = nullptr;
    pool_future_t *future = nullptr;
    double y = 0;

    options.workers = 1;
    if (job.size != sizeof job || pool_create(&pool, &options) != 0)
        return 1;
    if (pool_submit(pool, &future, twice, "d", 21.0) != 0 ||
        pool_future_result(future, -1, "d", &y) != 0)
        return 2;
    pool_future_free(future);
    pool_destroy(pool);
    return y != 42.0 ? 3 : codec() ? 0 : 4;
}
