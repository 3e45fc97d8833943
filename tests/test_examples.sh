#!/bin/sh
# Each numbered example runs and prints what tests/expected says; process ids
# read PID, and whether a core was written is the machine's affair.
set -u
failed=0
for expected in "$srcdir"/tests/expected/[0-9]*.txt; do
    name=$(basename "$expected" .txt)
    if ./examples/"$name" | sed -e 's/worker [0-9]*/worker PID/' \
        -e 's/, core dumped//' | diff "$expected" -; then
        echo "ok: $name"
    else
        echo "FAILED: $name"
        failed=1
    fi
done

# The same program on the ranks of a job, where this was built with MPI.
name=12-anywhere
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo
# Open MPI leaks of its own are not what is tested.
export ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0"
if [ ! -e libforkpool-mpi.la ] || ! mpirun --oversubscribe -n 3 true; then
    echo "SKIP: $name by mpirun (no MPI here)"
elif timeout 120 mpirun --oversubscribe -n 3 ./examples/$name |
    diff "$srcdir/tests/expected/$name.txt" -; then
    echo "ok: $name by mpirun"
else
    echo "FAILED: $name by mpirun"
    failed=1
fi
exit $failed
