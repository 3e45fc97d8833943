/* A peer: 64-byte messages from a master to the other ranks and back through
 * MPI, WINDOW of them ahead at each rank. Rank 0 prints messages per second.
 * Sends are blocking and eager, the usual master and worker. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#define WINDOW 64
#define SIZE 64

enum { TASK = 1, STOP = 2 };

static char message[SIZE] = {1};

static void
work(void)
{
    MPI_Status status;

    for (;;) {
        MPI_Recv(
            message, SIZE, MPI_BYTE, 0, MPI_ANY_TAG, MPI_COMM_WORLD, &status);
        if (status.MPI_TAG == STOP)
            return;
        MPI_Send(message, SIZE, MPI_BYTE, 0, TASK, MPI_COMM_WORLD);
    }
}

/* Whoever answers gets the next one. */
static double
run(long tasks, int ranks)
{
    MPI_Status status;
    long sent = 0, done = 0;
    double began = MPI_Wtime();

    for (; sent < tasks && sent < (long)WINDOW * (ranks - 1); sent++)
        MPI_Send(message, SIZE, MPI_BYTE, 1 + (int)(sent % (ranks - 1)), TASK,
            MPI_COMM_WORLD);
    for (; done < tasks; done++) {
        MPI_Recv(message, SIZE, MPI_BYTE, MPI_ANY_SOURCE, TASK, MPI_COMM_WORLD,
            &status);
        if (sent < tasks) {
            MPI_Send(message, SIZE, MPI_BYTE, status.MPI_SOURCE, TASK,
                MPI_COMM_WORLD);
            sent++;
        }
    }
    return (double)tasks / (MPI_Wtime() - began);
}

int
main(int argc, char **argv)
{
    long tasks = argc > 1 ? strtol(argv[1], NULL, 10) : 500000;
    int rank, ranks;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (rank != 0 || ranks < 2) {
        work();
    } else {
        run(20000, ranks); /* warm */
        printf("%.0f\n", run(tasks, ranks));
        for (int i = 1; i < ranks; i++)
            MPI_Send(message, SIZE, MPI_BYTE, i, STOP, MPI_COMM_WORLD);
    }
    MPI_Finalize();
    return 0;
}
