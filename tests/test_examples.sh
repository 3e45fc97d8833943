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
exit $failed
