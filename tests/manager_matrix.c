/* The expected values of the parallel manager on one backend, with 1, 2, 3 and
 * 8 workers and every schedule: tests/check_manager.sh runs it on each.
 *
 * manager_matrix BACKEND FILE: serial, fork, auto, or, where it is linked with
 * libforkpool-mpi, mpi (started by mpirun, which says how many workers there
 * are). The rows that came out are written to FILE as bits, once, after all
 * runs here had the same: the files of all backends must be equal.
 *
 * The last line is "N passed, N failed". */
#define _GNU_SOURCE
#include "manager.h"

#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#ifdef MANAGER_MPI
#include "forkpool_mpi.h"
#endif

#define ROWS_MAX 120
#define WIDTH_MAX 3

/* ---- cases ------------------------------------------------------------- */

static char case_name[128];
static bool case_good;
static int passed, failed;

void
case_begin(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(case_name, sizeof case_name, format, args);
    va_end(args);
    case_good = true;
}

void
case_claim(bool holds, const char *claim, const char *file, int line)
{
    if (holds)
        return;
    printf("FAILED: %s: %s:%d: %s (%s)\n", case_name, file, line, claim,
        pool_errmsg());
    case_good = false;
}

void
case_end(void)
{
    passed += case_good;
    failed += !case_good;
}

/* ---- pools ------------------------------------------------------------- */

pool_t *
manager_open(const struct manager *m, int workers)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_t *pool = NULL;
    int rc;

    if (m->only != NULL)
        return m->only;
    options.workers = workers;
    options.backend = m->serial ? POOL_SERIAL : POOL_FORK;
    rc = strcmp(m->backend, "auto") == 0 ? pool_create_auto(&pool, &options)
                                         : pool_create(&pool, &options);
    if (rc < 0) {
        printf("FAILED: %d workers: %s\n0 passed, 1 failed\n", workers,
            pool_errmsg());
        exit(1);
    }
    return pool;
}

void
manager_close(const struct manager *m, pool_t *pool)
{
    if (pool != m->only)
        pool_destroy(pool);
}

size_t
manager_ranks(const struct manager *m, int workers, size_t rows)
{
    size_t most = m->serial ? 1 : (size_t)workers;

    return most < rows ? most : rows;
}

/* ---- schedules --------------------------------------------------------- */

struct schedule {
    const char *name;
    int schedule;
    size_t chunk;
};

static const struct schedule schedules[] = {
    {"static", POOL_STATIC, 0},
    {"dynamic(1)", POOL_DYNAMIC, 1},
    {"dynamic(7)", POOL_DYNAMIC, 7},
    {"guided(0)", POOL_GUIDED, 0},
    {"guided(3)", POOL_GUIDED, 3},
};

/* How many rows part RANK must have; 0: any number, or there is none. */
static size_t
part_of(const struct schedule *s, size_t rows, size_t ranks, size_t rank)
{
    if (s->schedule == POOL_STATIC)
        return rows / ranks + (rank < rows % ranks);
    if (s->schedule == POOL_DYNAMIC && rank < rows / s->chunk)
        return s->chunk;
    return s->schedule == POOL_DYNAMIC ? rows % s->chunk : 0;
}

/* Parts in row order, none empty, as long as the schedule says, with the very
 * bits that were scattered. */
static void
check_parts(const pool_local_results_t *local, size_t count,
    const struct schedule *s, size_t ranks, const pool_job_t *job)
{
    size_t row = 0, line = job->columns * sizeof(double);

    if (s->schedule == POOL_STATIC)
        CLAIM(count == ranks);
    if (s->schedule == POOL_DYNAMIC)
        CLAIM(count == (job->rows + s->chunk - 1) / s->chunk);
    for (size_t i = 0; i < count; i++) {
        const pool_rows_t *part = &local[i].parameters;
        size_t wanted = part_of(s, job->rows, ranks, i);
        CLAIM(local[i].process_number == (int)i);
        CLAIM(local[i].error == 0 && local[i].failure == NULL);
        CLAIM(part->first == row && part->count > 0);
        CLAIM(wanted == 0 || part->count == wanted);
        CLAIM(s->chunk == 0 || part->count >= s->chunk || i == count - 1);
        CLAIM(part->columns == job->columns);
        CLAIM(memcmp(part->values, job->values + row * job->columns,
                  part->count * line) == 0);
        row += part->count;
    }
    CLAIM(row == job->rows);
}

/* ---- jobs --------------------------------------------------------------- */

/* build(base) -> [base, -1]; execute -> (base + p) * mult. */
static int
build_linear(pool_call_t *call, void **model)
{
    static double made[2];

    made[1] = -1;
    *model = made;
    return pool_call_args(call, "d", &made[0]);
}

static int
execute_linear(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    const double *made = model;
    double out[ROWS_MAX];

    for (size_t i = 0; i < rows->count; i++)
        out[i] = (made[0] + rows->values[i]) * made[1];
    return pool_call_return(call, "ad", out, rows->count);
}

static int
execute_sweep(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    double out[ROWS_MAX][3];

    (void)model;
    for (size_t r = 0; r < rows->count; r++) {
        double c = 2 * rows->values[2 * r], d = 3 * rows->values[2 * r + 1];
        bool feasible = c <= 1 && d <= 1;
        out[r][0] = feasible ? c : NAN;
        out[r][1] = feasible ? d : NAN;
        out[r][2] = feasible ? c + d : NAN;
    }
    return pool_call_return(call, "ad", out[0], 3 * rows->count);
}

/* Something with a rounding of its own in each row. */
static int
execute_grid(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    double out[ROWS_MAX];

    (void)model;
    for (size_t r = 0; r < rows->count; r++) {
        const double *row = rows->values + 3 * r;
        out[r] = row[0] / 3 + row[1] / 7 + row[2] / 11;
    }
    return pool_call_return(call, "ad", out, rows->count);
}

static const double ones[] = {1, 2, 3, 4, 5};
static double pairs[9][2];
static double grid[ROWS_MAX][3];
static double grid_sums[ROWS_MAX];

static const double minus_11[] = {-11, -12, -13, -14};
static const double minus_101[] = {-101, -102, -103, -104, -105};
static const double swept[9][3] = {{.2, 0, .2}, {.2, .75, .95}, {NAN, NAN, NAN},
    {1, 0, 1}, {1, .75, 1.75}, {NAN, NAN, NAN}, {NAN, NAN, NAN},
    {NAN, NAN, NAN}, {NAN, NAN, NAN}};

struct job {
    const char *name;
    pool_build_fn build;
    double base;
    pool_execute_fn execute;
    size_t rows, columns;
    const double *values;
    size_t width;
    const double *expected; /* rows x width */
    double tolerance;
};

static const struct job jobs[] = {
    {"base 10, four rows", build_linear, 10, execute_linear, 4, 1, ones, 1,
        minus_11, 0},
    {"base 100, four rows", build_linear, 100, execute_linear, 4, 1, ones, 1,
        minus_101, 0},
    {"base 100, five rows", build_linear, 100, execute_linear, 5, 1, ones, 1,
        minus_101, 0},
    {"a x b", NULL, 0, execute_sweep, 9, 2, pairs[0], 3, swept[0], 1e-15},
    {"4 x 5 x 6", NULL, 0, execute_grid, 120, 3, grid[0], 1, grid_sums, 0},
};

/* What came of each job the first time; later runs must have the same bits. */
static double first[COUNT(jobs)][ROWS_MAX * WIDTH_MAX];
static bool seen[COUNT(jobs)];

static void
fill_parameters(void)
{
    static const double a[] = {.1, .5, .9}, b[] = {0, .25, .5};

    for (int i = 0; i < 9; i++) {
        pairs[i][0] = a[i / 3];
        pairs[i][1] = b[i % 3];
    }
    for (int i = 0; i < ROWS_MAX; i++) {
        grid[i][0] = i / 30;
        grid[i][1] = i / 6 % 5;
        grid[i][2] = i % 6;
        grid_sums[i] = grid[i][0] / 3 + grid[i][1] / 7 + grid[i][2] / 11;
    }
}

static void
check_values(const struct job *j, const double *out, const bool *success)
{
    for (size_t r = 0; r < j->rows; r++) {
        bool good = true;
        for (size_t c = 0; c < j->width; c++) {
            double want = j->expected[r * j->width + c];
            double got = out[r * j->width + c];
            good = good && !isnan(want);
            CLAIM(isnan(want) ? isnan(got) : fabs(got - want) <= j->tolerance);
        }
        CLAIM(success[r] == good);
    }
}

static void
run_job(const struct manager *m, pool_t *pool, int workers,
    const struct schedule *s, size_t number)
{
    const struct job *j = &jobs[number];
    double out[ROWS_MAX * WIDTH_MAX];
    bool success[ROWS_MAX];
    unsigned char base[16];
    pool_job_t job = POOL_JOB_INIT;
    const pool_local_results_t *local;
    pool_results_t *results, *again;
    pool_scatter_t *scatter;
    size_t count, bytes = j->rows * j->width * sizeof out[0];

    job.build = j->build;
    CLAIM(pool_encode(
              base, sizeof base, &job.build_arguments_size, "d", j->base) == 0);
    job.build_arguments = base;
    job.execute = j->execute;
    job.rows = j->rows;
    job.columns = j->columns;
    job.values = j->values;
    job.schedule = s->schedule;
    job.chunk = s->chunk;
    int rc = pool_scatter(pool, &scatter, &job);
    CLAIM(rc == 0);
    if (rc < 0)
        return;
    rc = pool_gather(scatter, PATIENCE_MS, &results);
    CLAIM(rc == 0);
    if (rc == 0) {
        CLAIM(pool_gather(scatter, 0, &again) == 0 && again == results);
        CLAIM(pool_results_failed(results) == 0);
        CLAIM(pool_local_results(pool, results, &local, &count) == 0);
        check_parts(local, count, s, manager_ranks(m, workers, j->rows), &job);
        CLAIM(pool_results_matrix(results, j->width, out, success) == 0);
        check_values(j, out, success);
        if (!seen[number])
            memcpy(first[number], out, bytes);
        seen[number] = true;
        CLAIM(memcmp(first[number], out, bytes) == 0);
    }
    pool_scatter_free(scatter);
}

static void
matrix(const struct manager *m, int workers)
{
    pool_t *pool = manager_open(m, workers);

    for (size_t s = 0; s < COUNT(schedules); s++)
        for (size_t j = 0; j < COUNT(jobs); j++) {
            case_begin("%s, %d workers, %s, %s", m->backend, workers,
                schedules[s].name, jobs[j].name);
            run_job(m, pool, workers, &schedules[s], j);
            case_end();
        }
    manager_close(m, pool);
}

/* ---- the whole ---------------------------------------------------------- */

static int
write_rows(const char *path)
{
    FILE *file = fopen(path, "w");

    if (file == NULL)
        return -1;
    for (size_t j = 0; j < COUNT(jobs); j++)
        for (size_t i = 0; i < jobs[j].rows * jobs[j].width; i++) {
            uint64_t bits;
            memcpy(&bits, &first[j][i], sizeof bits);
            fprintf(file, "%s, value %zu: %016llx\n", jobs[j].name, i,
                (unsigned long long)bits);
        }
    return fclose(file);
}

static int
descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    while (dir != NULL && readdir(dir) != NULL)
        n++;
    if (dir != NULL)
        closedir(dir);
    return n;
}

/* Pools of this process, one after the other; nothing is left of them. */
static void
run_here(const struct manager *m)
{
    static const int workers[] = {1, 2, 3, 8};

    manager_close(m, manager_open(m, 2)); /* libuv keeps a pipe */
    int before = descriptors();
    for (size_t i = 0; i < COUNT(workers); i++) {
        manager_methods(m, workers[i]);
        matrix(m, workers[i]);
    }
    case_begin("nothing is left");
    CLAIM(waitpid(-1, NULL, WNOHANG) == -1);
    CLAIM(descriptors() == before);
    case_end();
}

/* One pool of all ranks; false: this rank has served it. */
static bool
run_everywhere(struct manager *m)
{
#ifdef MANAGER_MPI
    pool_options_t options = POOL_OPTIONS_INIT;
    int rc = strcmp(m->backend, "auto") == 0
                 ? pool_create_auto(&m->only, &options)
                 : pool_mpi_create(&m->only, &options);

    case_begin("%s: the pool", m->backend);
    CLAIM(rc == 0);
    case_end();
    if (m->only == NULL)
        return rc < 0;
    m->most = pool_worker_count(m->only);
    m->serial = m->most == 1 && pool_resize(m->only, 1) == POOL_ENOTSUP;
    manager_methods(m, m->most);
    matrix(m, m->most);
    pool_destroy(m->only);
#else
    (void)m;
#endif
    return true;
}

int
main(int argc, char **argv)
{
    struct manager m = {argc > 1 ? argv[1] : "fork", false, NULL, 0};
    bool mpi = strcmp(m.backend, "mpi") == 0 || getenv("OMPI_COMM_WORLD_SIZE");

    m.serial = strcmp(m.backend, "serial") == 0;
    fill_parameters();
    if (!mpi)
        run_here(&m);
    else if (!run_everywhere(&m))
        return 0;
    if (argc > 2 && write_rows(argv[2]) != 0) {
        perror(argv[2]);
        failed++;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed > 0 || passed == 0;
}
