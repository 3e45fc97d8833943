#!/bin/sh
# Pools over MPI: tests/mpi/cases under 1, 2, 3 and 5 ranks, then small programs
# whose job ends in its own way. 77 where mpirun can't start anything here.
set -u
case $srcdir in /*) ;; *) srcdir=$PWD/$srcdir ;; esac
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0

# Root may run jobs in a container; everything stays on this machine.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo
export OMPI_MCA_btl=self,vader,tcp OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none
export ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0"
job() { timeout -k 5 240 mpirun "$@"; }

command -v mpirun >/dev/null 2>&1 || { echo "no mpirun"; exit 77; }
job -n 2 true >"$dir/try" 2>&1 || { cat "$dir/try"; exit 77; }

ok() { echo "ok: $1"; }
bad() { echo "FAILED: $1"; cat "$dir/out"; failed=1; }
# expect NAME STATUS TEXT...: the last job's; STATUS is 0 or 1 for any other.
expect() {
    name=$1 wanted=$2
    [ "$status" -eq 0 ] || status=1
    shift 2
    [ "$status" -eq "$wanted" ] || { echo "status $status"; bad "$name"; return; }
    for text in "$@"; do
        grep -q -- "$text" "$dir/out" || { echo "no '$text'"; bad "$name"; return; }
    done
    ok "$name"
}
run() { job "$@" >"$dir/out" 2>&1; status=$?; }

$LIBTOOL --quiet --mode=execute ls tests/mpi/cases >/dev/null
cases=$PWD/tests/mpi/cases
small=$PWD/tests/mpi/small
${CC-cc} -shared -fPIC "$srcdir/tests/mpi/plugin.c" -o "$dir/plugin.so" || exit 1
export MPI_TEST_PLUGIN="$dir/plugin.so"

# The full suites run more of the same.
sizes=3 times=1 groups=3 kinds=4 # of small.c: an allreduce
[ "${FORKPOOL_TEST_FULL-0}" != 1 ] || sizes="2 3 5" times="1 2 3" \
    groups="2 3 8" kinds="0 1 2 3 4 5"
for n in $sizes; do
    MPI_TEST_DIR=$(mktemp -d "$dir/XXXXXX")
    export MPI_TEST_DIR
    run -n $n "$cases"
    expect "cases, $n ranks" 0 "^ok submit" "^ok deadline" \
        "^ok scatter_dynamic" "^ok comm_cancel"
    grep -q "WORKER PRINTED" "$dir/out" && bad "output to nowhere"
    grep "^cpu" "$dir/out"
done
MPI_TEST_DIR=$(mktemp -d "$dir/XXXXXX")
run -n 1 "$cases" submit every_rank errors large map host_loop \
    scatter_static scatter_dynamic comm_root comm_small comm_large \
    comm_mismatch comm_failure
expect "cases, 1 rank" 0 "^ok submit" "^ok host_loop"

run -n 3 "$small" add
expect "MPI of the library's" 0 "rank 0: 2 workers, 2 + 3 = 5" "has none: POOL_OK"
run -n 1 "$small" add
expect "a job of one" 0 "rank 0: 1 workers, 2 + 3 = 5"
run -n 2 "$small" twice
expect "a second pool" 0 "the second: POOL_ENOTSUP: .*finalised"
run -n 3 "$small" add 3
expect "more workers than ranks" 1 "has none: POOL_EINVAL: .*workers is 3"
# A rank that ends with an error must not end the others before they spoke.
patient="--mca orte_abort_on_non_zero_status 0"
run $patient -n 3 "$small" add 3
[ "$(grep -c "has none: POOL_EINVAL" "$dir/out")" -eq 3 ] || bad "on every rank"

run -n 3 "$small" auto
expect "auto under mpirun" 0 "rank 0: 2 workers, 2 + 3 = 5"
"$small" auto 2 >"$dir/out" 2>&1
status=$?
expect "auto, alone" 0 "rank 0: 2 workers, 2 + 3 = 5"
"$small" auto 1 >"$dir/out" 2>&1
status=$?
expect "auto, serial" 0 "rank 0: 1 workers, 2 + 3 = 5"

run -n 3 "$small" exit
expect "a task exits" 1 "forkpool: rank [12] on .*: task 1 called exit(3); the job ends"
run -n 3 "$small" start
expect "an initializer exits" 1 "forkpool: rank [12] on .*: the initializer called exit(3)"
run -n 3 "$small" crash
expect "a task crashes" 1 "forkpool: rank [12] on .*: killed by SIGSEGV in task 1"
# In one write, or what other ranks print would come between.
mkfifo "$dir/fifo"
timeout 60 dd bs=4096 count=1 if="$dir/fifo" of="$dir/said" 2>/dev/null &
MPI_TEST_FIFO="$dir/fifo" run -n 3 "$small" crash
wait $!
mv "$dir/said" "$dir/out"
expect "it is said in one piece" 1 \
    "^forkpool: rank [12] on .*: killed by SIGSEGV in task 1; the job ends$"
for time in $times; do
    for kind in $kinds; do
        for ranks in $groups; do
            victim=$((time % ranks))
            run -n $((ranks + 1)) "$small" peer "$ranks" "$kind" "$victim"
            expect "rank $victim of $ranks is killed in collective $kind" 1 \
                "signal 9"
            grep "lives on" "$dir/out" && bad "the job lives on"
        done
    done
done
run -n 3 "$small" hang
expect "a task hangs for ever" 1 "task 1 still runs on rank [12] on .*; the job ends"

$LIBTOOL --silent --mode=link $CC $CFLAGS -DOTHER_BUILD=1 -I"$srcdir/include" \
    "$srcdir/tests/mpi/small.c" libforkpool-mpi.la libforkpool.la \
    -o "$dir/other" || exit 1
run -n 1 "$small" add : -n 1 "$small" add : -n 1 "$dir/other" add
expect "another build" 1 \
    "POOL_EINVAL: .*rank 2 on .* runs another build of the program: .*other"
run $patient -n 1 "$small" add : -n 1 "$small" add : -n 1 "$dir/other" add
[ "$(grep -c "POOL_EINVAL.*another build" "$dir/out")" -eq 3 ] ||
    bad "another build, told on every rank"
exit $failed
