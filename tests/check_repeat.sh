#!/bin/sh
# Run every test program N times on a quiet machine and N times with all CPUs
# kept busy, and count the runs. Arguments: N, how many programs run at once,
# the programs. No program runs beside itself.
#
# check-repeat.dir/ keeps what was done (`state`: a line for each run) and the
# output of each run that failed. A second call goes on where the first was
# stopped; `make check-repeat-clean` begins anew.
set -u
n=$1
at_once=$2
shift 2
dir=check-repeat.dir
mkdir -p "$dir" || exit 1
touch "$dir/state"
burners=

# One loop for each CPU; they are ended by the pids that were kept.
burn()
{
    cpus=$(nproc)
    while [ "$cpus" -gt 0 ]; do
        while :; do :; done &
        burners="$burners $!"
        cpus=$((cpus - 1))
    done
}

calm()
{
    # shellcheck disable=SC2086 # one word for each pid
    [ -z "$burners" ] || { kill $burners; wait $burners; } 2>/dev/null
    burners=
}

trap calm EXIT
trap 'exit 1' HUP INT TERM

# A program of its own, for xargs. Arguments: DIRECTORY MODE NUMBER PROGRAM. It
# runs the program unless that was done before. A busy machine takes longer;
# Check's own clock must not end a case.
# shellcheck disable=SC2016 # that shell expands it
once='
run="$2 $3 $4"
grep -q "^[a-z]* $run\$" "$1/state" && exit 0
out=$1/$2-$3-$(basename "$4").out
if CK_TIMEOUT_MULTIPLIER=4 "./$4" >"$out" 2>&1; then
    rm -f "$out"
    echo "passed $run" >>"$1/state"
else
    echo "failed $run" >>"$1/state"
    echo "failed: $run ($out)"
fi'

for mode in quiet busy; do
    [ "$mode" = quiet ] || burn
    i=1
    while [ "$i" -le "$n" ]; do
        printf '%s\n' "$@" |
            xargs -n 1 -P "$at_once" sh -c "$once" once "$dir" "$mode" "$i"
        echo "$mode $i of $n"
        i=$((i + 1))
    done
done
calm
passed=$(grep -c '^passed' "$dir/state")
failed=$(grep -c '^failed' "$dir/state")
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
