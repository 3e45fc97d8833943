/* Runs cases under mpirun: `cases NAME...`, or all of them. MPI is the
 * program's here, so that one job makes one pool after the other. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mpi_check.h"

static const struct mpi_case *const suites[] = {mpi_cases_basic, mpi_cases_life,
    mpi_cases_limits, mpi_cases_sweep, mpi_cases_comm};

void
mpi_path(char *to, size_t size, const char *name)
{
    const char *dir = getenv("MPI_TEST_DIR");

    snprintf(to, size, "%s/%s", dir != NULL ? dir : ".", name);
}

void
mpi_touch(const char *name)
{
    char path[512];

    mpi_path(path, sizeof path, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, "x", 1) != 1)
        abort();
    close(fd);
}

long
mpi_size(const char *name)
{
    char path[512];
    struct stat s;

    mpi_path(path, sizeof path, name);
    return stat(path, &s) == 0 ? (long)s.st_size : 0;
}

void
mpi_await(const char *name)
{
    for (int ms = 0; ms < PATIENCE_MS && mpi_size(name) == 0; ms++)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static int
count_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int n = 0;

    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static void
run_case(const struct mpi_case *c, int rank, int ranks)
{
    pool_options_t options = POOL_OPTIONS_INIT;
    pool_t *pool = NULL;

    if (c->prepare != NULL)
        c->prepare(&options, rank);
    int descriptors = count_descriptors();
    CHECK_CODE(c->code, pool_mpi_create(&pool, &options));
    CHECK((pool != NULL) == (c->code == 0 && (rank == 0 || ranks == 1)));
    if (pool != NULL) {
        c->run(pool, ranks > 1 ? ranks - 1 : 1);
        pool_destroy(pool);
        CHECK(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
    }
    if (rank == 0) {
        /* MPI may open what it needs at the first use of a peer. */
        if (count_descriptors() > descriptors + 2 * ranks)
            CHECK(count_descriptors() == descriptors);
        printf("ok %s\n", c->name);
        fflush(stdout);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static bool
is_named(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(name, argv[i]) == 0)
            return true;
    return argc < 2;
}

int
main(int argc, char **argv)
{
    int rank, ranks;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    for (size_t i = 0; i < sizeof suites / sizeof suites[0]; i++)
        for (const struct mpi_case *c = suites[i]; c->name != NULL; c++)
            if (is_named(c->name, argc, argv))
                run_case(c, rank, ranks);
    MPI_Finalize();
    return 0;
}
