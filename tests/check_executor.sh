#!/bin/sh
# Run the executor's scenarios, each under every drive, and count the cases.
# Arguments: the programs. FORKPOOL_TEST_FULL=1: with all iterations.
set -u
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
trap 'exit 1' HUP INT TERM
passed=0
failed=0

for program; do
    status=0
    CK_VERBOSITY=normal "./$program" >"$out" 2>&1 || status=$?
    # Check's line: 100%: Checks: 9, Failures: 0, Errors: 0
    counts=$(sed -n 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\)$/\1 \2 \3/p' "$out" | tail -n 1)
    # Without one, or with a status that it doesn't explain, the program is a
    # case that failed.
    read -r checks failures errors <<END
${counts:-0 0 0}
END
    bad=$((failures + errors))
    [ "$status" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
    [ -n "$counts" ] || bad=1
    good=$((checks - failures - errors))
    echo "$program: $good passed, $bad failed"
    [ "$bad" -eq 0 ] || sed 's/^/    /' "$out"
    passed=$((passed + good))
    failed=$((failed + bad))
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
