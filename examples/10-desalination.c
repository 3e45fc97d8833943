/* Sweep a reverse-osmosis unit over the feed waters of a CSV file, with a grid
 * of recoveries and fluxes for each water; see desalination_model.h. */
#include <csv.h>
#include <errno.h>
#include <error.h>
#include <forkpool.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "desalination_model.h"

#define MAX_ROWS 2000000 /* of about 200 bytes */
#define WIDTH (sizeof(struct outcome) / sizeof(double))

struct outcome { /* of a row; doubles alone */
    struct ro_result r;
    double seconds;
};
static const char *const names[] = {"water", "salinity", "temperature"};
struct water {
    char *name;
    double value[3]; /* by column: -, g/kg, C */
};
static const char usage[] =
    "--workers N    processes; 0: as many as CPUs (0)\n"
    "--input FILE   feed waters (examples/data/feed-waters.csv)\n"
    "--output FILE  where all rows go, as CSV (desalination.csv)\n"
    "--grid N       N recoveries x N fluxes for each water, 1 to 1000 (32)\n"
    "--no-compare   no second run on the serial backend (--compare)\n"
    "--dry-run      count the rows and stop";
static _Atomic size_t *finished; /* rows; shared with the workers */
static struct water waters[MAX_ROWS];
static size_t count;
static const char *file;
static unsigned line, column, place[3]; /* from 1; where names are */

static void
check(int rc)
{
    if (rc < 0)
        error(1, 0, "%s", pool_errmsg());
}

static void
field(void *text, size_t size, void *head) /* libcsv has found one */
{
    char *end = text;
    double number = strtod(text, &end);

    column++;
    if (strlen(text) != size)
        error_at_line(2, 0, file, line, "column %u: NUL byte", column);
    for (int i = 0; i < 3; i++) {
        if (head != NULL && strcmp(text, names[i]) == 0)
            place[i] = column;
        if (head != NULL || place[i] != column)
            continue;
        if (i > 0 && (end == text || *end != '\0' || !isfinite(number)))
            error_at_line(2, 0, file, line, "column %u (%s): no number: \"%s\"",
                column, names[i], (char *)text);
        waters[count].value[i] = number;
        if (i == 0 && (waters[count].name = strdup(text)) == NULL)
            error(2, errno, "%s", file);
    }
}

static void
read_waters(void) /* lines that begin with # are comments */
{
    FILE *stream = fopen(file, "r");
    struct csv_parser csv;
    char *text = NULL;
    size_t size = 0;
    ssize_t n;

    csv_init(&csv, CSV_STRICT | CSV_STRICT_FINI | CSV_APPEND_NULL);
    for (unsigned width = 0;
         stream && (n = getline(&text, &size, stream)) >= 0;) {
        void *head = width == 0 ? &csv : NULL;
        line++;
        if (text[0] == '#')
            continue;
        if (count == MAX_ROWS)
            error_at_line(2, 0, file, line, "more than %d waters", MAX_ROWS);
        column = 0;
        if (csv_parse(&csv, text, (size_t)n, field, NULL, head) < (size_t)n ||
            csv_fini(&csv, field, NULL, head) != 0)
            error_at_line(2, 0, file, line,
                "column %u: stray or unclosed quotation mark", column + 1);
        if (column == 0)
            error_at_line(2, 0, file, line, "column 1: empty line");
        for (int i = 0; i < 3; i++)
            if (place[i] == 0)
                error_at_line(2, 0, file, line, "%u columns, none is \"%s\"",
                    column, names[i]);
        if (head == NULL && column != width)
            error_at_line(
                2, 0, file, line, "ends at column %u, not %u", column, width);
        count += head == NULL;
        width = column;
    }
    if (stream == NULL || ferror(stream))
        error(2, errno, "%s", file);
    csv_free(&csv);
    free(text);
    fclose(stream);
}

static int
build(pool_call_t *call, void **model)
{
    static struct ro_module module;

    *model = &module;
    return pool_call_args(
        call, "ddd", &module.limit, &module.pump, &module.device);
}

static int
execute(pool_call_t *call, void *model, const pool_rows_t *rows)
{
    const struct ro_row *row = (const void *)rows->values;
    struct outcome *out = calloc(rows->count, sizeof *out);
    int rc;

    if (out == NULL)
        return pool_call_fail(call, ENOMEM, "no memory for the results");
    for (size_t i = 0; i < rows->count; i++) {
        clock_t start = clock();
        out[i].r = ro_solve(model, &row[i]);
        out[i].seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
        ++*finished;
    }
    rc = pool_call_return(call, "ad", &out->r.permeate, rows->count * WIDTH);
    free(out);
    return rc;
}

/* Solve all rows and say what each rank did. */
static void
sweep(int backend, int workers, const struct ro_row *rows, size_t n,
    struct outcome *out)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_job_t job = POOL_JOB_INIT;
    const pool_local_results_t *rank;
    pool_results_t *results;
    pool_scatter_t *scatter;
    pool_t *pool;
    double module[8]; /* holds three, encoded */
    size_t ranks;

    options.backend = backend;
    options.workers = workers;
    check(pool_encode(module, sizeof module, &job.build_arguments_size, "ddd",
        83e5, 0.88, 0.95));
    job.build_arguments = module;
    job.build = build;
    job.execute = execute;
    job.rows = n;
    job.columns = sizeof *rows / sizeof(double);
    job.values = &rows->salinity;
    *finished = 0;
    check(pool_create(&pool, &options));
    check(pool_scatter(pool, &scatter, &job));
    while (pool_gather(scatter, 100, &results) == POOL_ETIMEDOUT)
        if (isatty(STDERR_FILENO))
            fprintf(stderr, "\r  [%-20.*s] %zu of %zu rows",
                (int)(20 * *finished / n), "####################", *finished,
                n);
    check(pool_gather(scatter, 0, &results));
    fputs(isatty(STDERR_FILENO) ? "\r\033[K" : "", stderr);
    check(pool_local_results(pool, results, &rank, &ranks));
    check(pool_results_matrix(results, WIDTH, &out->r.permeate, NULL));
    for (size_t k = 0; k < ranks; k++) {
        size_t failed = 0, all = rank[k].parameters.count;
        double seconds = 0;
        for (size_t i = 0; i < all; i++, out++) {
            if (rank[k].error != 0)
                out->r.status = RO_LOST;
            failed += out->r.status != RO_OK;
            seconds += out->seconds;
            out->seconds = 0; /* what is left is the same in every run */
        }
        printf("  %-7s%4zu%9zu%10.2f%10zu  %s\n",
            backend == POOL_FORK ? "fork" : "serial", k, all, seconds, failed,
            rank[k].error != 0 ? rank[k].failure->message : "");
    }
    pool_scatter_free(scatter);
    pool_destroy(pool);
}

/* Write all rows, print each water's best and worst; how many were lost. */
static size_t
report(const char *path, const struct ro_row *rows, const struct outcome *out,
    size_t n)
{
    size_t i = 0, failed[RO_LOST + 1] = {0};
    FILE *stream = fopen(path, "w");

    if (stream == NULL)
        error(1, errno, "%s", path);
    fprintf(stream, "water,%s,failure\n", ro_columns);
    printf("\n%23s| least kWh/m³%15s| most\n Water         g/kg °C", "", "");
    for (int k = 0; k < 2; k++)
        printf(" | kWh  min  rec LMH bar mg/L");
    for (size_t w = 0; w < count; w++) {
        size_t pick[2] = {i, i};
        for (; i < (w + 1) * (n / count); i++) {
            const double *in = &rows[i].salinity, *result = &out[i].r.permeate;
            csv_fwrite(stream, waters[w].name, strlen(waters[w].name));
            for (int k = 0; k < 9; k++)
                fprintf(stream, ",%.12g", k < 4 ? in[k] : result[k - 4]);
            fprintf(stream, ",%s\n", ro_reasons[(int)out[i].r.status]);
            failed[(int)out[i].r.status]++;
            for (int k = 0; k < 2; k++) {
                double old = out[pick[k]].r.energy, new = out[i].r.energy;
                if (isnan(old) || (k == 0 ? new < old : new > old))
                    pick[k] = i;
            }
        }
        if (w >= 24) /* as many as are read with pleasure */
            continue;
        printf("\n %-13.13s%5.1f%3.0f", waters[w].name, waters[w].value[1],
            waters[w].value[2]);
        for (int k = 0; k < 2; k++) {
            const struct ro_result *r = &out[pick[k]].r;
            printf(" |%5.2f %4.2f %2.0f%% %3.0f %3.0f %4.0f", r->energy,
                r->minimum, 100 * rows[pick[k]].recovery, rows[pick[k]].flux,
                r->pressure, 1000 * r->permeate);
        }
    }
    printf("\n\n  All rows: %s\n", path);
    for (int k = 1; k <= RO_LOST; k++)
        if (failed[k] > 0)
            printf("  NaN: %zu rows, %s\n", failed[k], ro_reasons[k]);
    if (ferror(stream) || fclose(stream) != 0)
        error(1, errno, "%s", path);
    return failed[RO_LOST];
}

int
main(int argc, char **argv)
{
    enum { WORKERS, INPUT, OUTPUT, GRID, COMPARE, NO_COMPARE, DRY, HELP, END };
    static const struct option options[] = {{"workers", 1, NULL, 0},
        {"input", 1, NULL, 0}, {"output", 1, NULL, 0}, {"grid", 1, NULL, 0},
        {"compare", 0, NULL, 0}, {"no-compare", 0, NULL, 0},
        {"dry-run", 0, NULL, 0}, {"help", 0, NULL, 0}, {NULL, 0, NULL, 0}};
    const char *value[END] = {
        "0", "examples/data/feed-waters.csv", "desalination.csv", "32"};
    static struct outcome out[2 * MAX_ROWS]; /* half for the serial backend */
    static struct ro_row rows[MAX_ROWS];     /* untouched, they cost nothing */
    size_t grid = 0, n;
    int workers = 0, differ = 0, c, i = 0;
    char more;

    while ((c = getopt_long(argc, argv, "", options, &i)) == 0)
        value[i] = optarg != NULL ? optarg : "yes";
    if (value[HELP] != NULL)
        return puts(usage) < 0;
    if (c != -1 || optind < argc ||
        sscanf(value[WORKERS], "%d%c", &workers, &more) != 1 ||
        sscanf(value[GRID], "%zu%c", &grid, &more) != 1 || grid - 1 > 999)
        error(2, 0, "unusable arguments\n%s", usage);
    file = value[INPUT];
    read_waters();
    n = count * grid * grid;
    printf("%s: %zu waters x %zu recoveries x %zu fluxes = %zu rows\n", file,
        count, grid, grid, n);
    if (n < 1 || n > MAX_ROWS)
        error(2, 0, "%s: not 1 to %d rows, see --grid", file, MAX_ROWS);
    if (value[DRY] != NULL)
        return 0;
    finished = mmap(NULL, sizeof *finished, PROT_READ | PROT_WRITE,
        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (finished == MAP_FAILED)
        error(1, errno, "%zu rows", n);
    for (size_t k = 0; k < n; k++) {
        double *water = waters[k / grid / grid].value, parts = (double)grid - 1;
        rows[k] = (struct ro_row){water[1], water[2],
            0.25 + 0.2 * (double)(k / grid % grid) / fmax(1, parts),
            12 + 10 * (double)(k % grid) / fmax(1, parts)};
    }
    printf("%s\n  rank           rows   seconds    failed\n", ro_sources);
    sweep(POOL_FORK, workers, rows, n, out);
    if (value[NO_COMPARE] == NULL) {
        sweep(POOL_SERIAL, 1, rows, n, out + n);
        differ = memcmp(out, out + n, n * sizeof *out) != 0;
        printf("\n  Serial run: %s\n", differ ? "DIFFERS" : "same bits");
    }
    return report(value[OUTPUT], rows, out, n) > 0 || differ;
}
