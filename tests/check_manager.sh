#!/bin/sh
# The parallel manager on every backend: the matrix of tests/manager_matrix.c
# on serial, fork and MPI, whose rows must be equal bit for bit, and the tests
# of what it stands on. Arguments: the other programs and scripts.
# MATRIX_MPI: the matrix linked with MPI; "": there is none. srcdir: the source.
set -u
: "${srcdir:=.}" "${MATRIX_MPI:=}"
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
passed=0
failed=0
# So that it runs as root, on one machine, whatever number of CPUs it has.
OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo
OMPI_MCA_hwloc_base_binding_policy=none
export OMPI_ALLOW_RUN_AS_ROOT OMPI_ALLOW_RUN_AS_ROOT_CONFIRM \
    OMPI_MCA_btl_tcp_if_include OMPI_MCA_oob_tcp_if_include \
    OMPI_MCA_hwloc_base_binding_policy

# report NAME GOOD BAD: what a run came to; its output where it was bad.
report()
{
    echo "$1: $2 passed, $3 failed"
    [ "$3" -eq 0 ] || sed 's/^/    /' "$dir/out"
    passed=$((passed + $2))
    failed=$((failed + $3))
}

# matrix NAME COMMAND...: cases are counted by the program's last line; a file
# of rows that differs from serial's is a case that failed.
matrix()
{
    name=$1 status=0
    shift
    timeout 300 "$@" "$dir/$name.rows" >"$dir/out" 2>&1 </dev/null || status=$?
    counts=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' \
        "$dir/out" | tail -n 1)
    read -r good bad <<END
${counts:-0 1}
END
    [ $status -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
    if [ "$name" = serial ]; then
        : # what the others are compared with
    elif cmp "$dir/serial.rows" "$dir/$name.rows" >>"$dir/out" 2>&1; then
        good=$((good + 1))
    else
        bad=$((bad + 1))
    fi
    report "matrix, $name" "$good" "$bad"
}

# The counts of a program of the Check library; or of one or a script that has
# only a status.
program()
{
    status=0
    case $1 in
    *.sh) timeout 600 sh "$srcdir/$1" >"$dir/out" 2>&1 </dev/null ;;
    *) CK_VERBOSITY=normal timeout 600 "./$1" >"$dir/out" 2>&1 </dev/null ;;
    esac || status=$?
    if [ $status -eq 77 ]; then
        echo "$1: $(grep -i skip "$dir/out" | head -n 1)"
        return
    fi
    counts=$(sed -n 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\)$/\1 \2 \3/p' \
        "$dir/out" | tail -n 1)
    read -r checks failures errors <<END
${counts:-1 0 0}
END
    bad=$((failures + errors))
    [ $status -eq 0 ] || [ $bad -gt 0 ] || bad=1
    report "$1" $((checks - bad)) $bad
}

matrix serial ./tests/manager_matrix serial
matrix fork ./tests/manager_matrix fork
matrix auto ./tests/manager_matrix auto
if [ -n "$MATRIX_MPI" ] && command -v mpirun >/dev/null; then
    # Rank 0 and 1, 2, 3, 4 and 8 workers; alone, it is serial.
    for ranks in 1 2 3 4 5 9; do
        matrix "mpi-$ranks" mpirun --oversubscribe -n $ranks "$MATRIX_MPI" mpi
    done
    matrix auto-mpi mpirun --oversubscribe -n 3 "$MATRIX_MPI" auto
else
    echo "MPI: not here (configure found none, or there is no mpirun)"
fi
for name; do
    program "$name"
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
