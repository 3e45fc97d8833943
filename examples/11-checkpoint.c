/* A sweep that may be killed at any instant and goes on where it was: Lyapunov
 * exponents of x -> r x (1 - x). Each chunk that settles goes into an SQLite
 * file; a later run finds it there and does not run it. The file is one job's:
 * it holds a digest of the parameters, and in clear what else decides. */
#include <error.h>
#include <forkpool.h>
#include <getopt.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

#define OWNER 0x666b7031   /* "fkp1": the file's application id */
#define MODEL "lyapunov 1" /* in the file; to be changed with the model */
#define CHUNK 10
#define ROWS_MAX 1000000

struct store {
    sqlite3 *db;
    sqlite3_stmt *find, *keep;
    const char *path;
    long lose, verbose, pending, ran, restored;
};

static long steps, slow_us; /* seen by workers as the pool was made */

static int
execute(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    double out[CHUNK] = {0};

    (void)model;
    for (size_t i = 0; i < rows->count; i++) {
        double r = rows->values[i], x = 0.3;
        usleep((useconds_t)slow_us);
        for (long k = 0; k < steps; k++) {
            x *= r * (1 - x);
            out[i] += log(fabs(r * (1 - 2 * x))) / (double)steps;
        }
    }
    return pool_call_return(call, "ad", out, rows->count);
}

static void
require(struct store *s, int rc)
{
    if (rc != SQLITE_OK && rc != SQLITE_ROW && rc != SQLITE_DONE)
        error(1, 0, "%s: %s", s->path, sqlite3_errmsg(s->db));
}

static sqlite3_stmt *
prepare(struct store *s, const char *sql)
{
    sqlite3_stmt *made = NULL;

    require(s, sqlite3_prepare_v2(s->db, sql, -1, &made, NULL));
    return made;
}

static int
ask(struct store *s, const char *sql) /* the number that it gives */
{
    sqlite3_stmt *query = prepare(s, sql);
    require(s, sqlite3_step(query));
    int number = sqlite3_column_int(query, 0);
    sqlite3_finalize(query);
    return number;
}

/* Open or make it, for this process alone. Nothing is written to a file that
 * is not known to be this job's. */
static void
store_open(struct store *s, const double *values, size_t size)
{
    __uint128_t d = (__uint128_t)0x6c62272e07bb0142 << 64 | 0x62b821756295c58d;
    char key[128], sql[512];

    for (const unsigned char *p = (const void *)values; size-- > 0; p++)
        d = (d ^ *p) * (((__uint128_t)1 << 88) + 0x13b); /* FNV-1a */
    snprintf(key, sizeof key, "'" MODEL ", %ld steps, by %d, %016llx%016llx'",
        steps, CHUNK, (unsigned long long)(d >> 64), (unsigned long long)d);
    require(s, sqlite3_open(s->path, &s->db));
    ask(s, "PRAGMA locking_mode = EXCLUSIVE");
    snprintf(sql, sizeof sql,
        "BEGIN; PRAGMA application_id = %d; CREATE TABLE job (digest); INSERT "
        "INTO job VALUES (%s); CREATE TABLE chunk (first INTEGER PRIMARY KEY, "
        "results); COMMIT",
        OWNER, key);
    if (ask(s, "PRAGMA page_count") == 0)
        require(s, sqlite3_exec(s->db, sql, NULL, NULL, NULL));
    else if (ask(s, "PRAGMA application_id") != OWNER)
        error(2, 0, "%s: a database of another program", s->path);
    snprintf(sql, sizeof sql, "SELECT digest = %s FROM job", key);
    if (ask(s, sql) != 1)
        error(2, 0, "%s: of another job, or of other parameters", s->path);
    ask(s, "PRAGMA journal_mode = WAL");
    ask(s, "PRAGMA synchronous = FULL"); /* a commit outlives a power cut */
    s->find = prepare(s, "SELECT results FROM chunk WHERE first = ?");
    s->keep = prepare(s, "INSERT INTO chunk VALUES (?, ?)");
}

static int
restore(int chunk, const pool_rows_t *rows, const void **results, size_t *size,
    void *data)
{
    struct store *s = data;

    (void)chunk;
    sqlite3_reset(s->find);
    sqlite3_bind_int64(s->find, 1, (sqlite3_int64)rows->first);
    require(s, sqlite3_step(s->find));
    *results = sqlite3_column_blob(s->find, 0); /* NULL: there is none */
    *size = (size_t)sqlite3_column_bytes(s->find, 0);
    s->restored += *results != NULL;
    return *results != NULL;
}

/* Keep a chunk; no more than `lose` wait for a commit when this returns. */
static int
settled(const pool_local_results_t *local, void *data)
{
    struct store *s = data;
    const char *begin = s->pending == 0 ? "BEGIN" : "";
    const char *end = s->pending == s->lose ? "COMMIT" : "";

    if (local->error != 0)
        return 0; /* the next run tries it again */
    sqlite3_reset(s->keep);
    sqlite3_bind_int64(s->keep, 1, (sqlite3_int64)local->parameters.first);
    sqlite3_bind_blob(
        s->keep, 2, local->results, (int)local->results_size, SQLITE_STATIC);
    if (sqlite3_exec(s->db, begin, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_step(s->keep) != SQLITE_DONE ||
        sqlite3_exec(s->db, end, NULL, NULL, NULL) != SQLITE_OK) {
        error(0, 0, "%s: %s", s->path, sqlite3_errmsg(s->db));
        return POOL_ENOSPC;
    }
    s->pending = *end != '\0' ? 0 : s->pending + 1;
    s->ran++;
    if (s->verbose)
        fprintf(stderr, "kept %ld\n", s->ran);
    return 0;
}

int
main(int argc, char **argv)
{
    enum { ROWS, STEPS, WORKERS, LOSE, SLOW, VERBOSE, END };
    static const struct option names[] = {{"rows", 1, NULL, 0},
        {"steps", 1, NULL, 0}, {"workers", 1, NULL, 0}, {"lose", 1, NULL, 0},
        {"slow-us", 1, NULL, 0}, {"verbose", 1, NULL, 0}, {NULL, 0, NULL, 0}};
    static double r[ROWS_MAX], exponents[ROWS_MAX];
    long value[END] = {2000, 1000};
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_job_t job = POOL_JOB_INIT;
    struct store s = {0};
    pool_results_t *results;
    pool_scatter_t *scatter;
    pool_t *pool;
    int rc, i = 0;
    char more;

    while ((rc = getopt_long(argc, argv, "", names, &i)) == 0)
        if (sscanf(optarg, "%ld%c", &value[i], &more) != 1 || value[i] < 0)
            break;
    if (rc != -1 || optind + 1 != argc ||
        (unsigned long)value[ROWS] - 1 >= ROWS_MAX)
        error(2, 0, "--rows, steps, workers, lose, slow-us, verbose N; FILE");
    for (long k = 0; k < value[ROWS]; k++)
        r[k] = 2.5 + 1.5 * (double)k / (double)value[ROWS];
    steps = value[STEPS], slow_us = value[SLOW];
    s.lose = value[LOSE], s.verbose = value[VERBOSE], s.path = argv[optind];
    job.rows = (size_t)value[ROWS], job.columns = 1, job.values = r;
    job.schedule = POOL_DYNAMIC, job.chunk = CHUNK; /* whatever the workers */
    job.execute = execute, job.restore = restore, job.settled = settled;
    job.data = &s;
    /* The workers come first: none of them is to hold the database open. */
    options.workers = (int)value[WORKERS];
    if (pool_create(&pool, &options) < 0)
        error(1, 0, "%s", pool_errmsg());
    store_open(&s, r, job.rows * sizeof r[0]);
    if (pool_scatter(pool, &scatter, &job) < 0)
        error(1, 0, "%s", pool_errmsg());
    sqlite3_finalize(s.find);
    rc = pool_gather(scatter, -1, &results);
    if (rc == 0 && s.pending > 0)
        ask(&s, "COMMIT");
    if (rc < 0 || pool_results_failed(results) > 0 ||
        pool_results_matrix(results, 1, exponents, NULL) < 0)
        error(1, 0, "not finished: %s; %s keeps what it has",
            rc < 0 ? pool_strerror(rc) : "a chunk failed", s.path);
    for (long k = 0; k < value[ROWS]; k++)
        printf("%.17g %.17g\n", r[k], exponents[k]);
    pool_scatter_free(scatter);
    pool_destroy(pool);
    sqlite3_finalize(s.keep);
    require(&s, sqlite3_close(s.db));
    fprintf(stderr, "ran %ld, restored %ld\n", s.ran, s.restored);
    return 0;
}
