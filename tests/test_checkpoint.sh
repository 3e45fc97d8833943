#!/bin/sh
# The program examples/11-checkpoint: killed as a whole at random instants (20 in
# the full suites, 4 else)
# it goes on each time with what is missing, and ends with the bytes of a run
# that nobody disturbed; what it must not touch it refuses; a full disk costs
# what --lose says. No outcome hangs on when the kills come.
# CHECKPOINT: the program.
set -u
: "${CHECKPOINT:=examples/11-checkpoint}"
if [ ! -x "$CHECKPOINT" ]; then
    echo "SKIP: no $CHECKPOINT (built without SQLite)"
    exit 77
fi
case $CHECKPOINT in /*) ;; *) CHECKPOINT=$PWD/$CHECKPOINT ;; esac
dir=$(mktemp -d) || exit 1
mounted=
tidy()
{
    [ -z "$mounted" ] || umount "$dir/small"
    rm -rf "$dir"
}
trap tidy EXIT
trap 'exit 1' HUP INT TERM
cd "$dir" || exit 1
failures=0

ok()
{
    echo "ok: $1"
}

bad()
{
    echo "FAIL: $1"
    sed 's/^/    /' err 2>/dev/null | tail -n 5
    failures=$((failures + 1))
}

verify()
{
    name=$1
    shift
    if "$@"; then
        ok "$name"
    else
        bad "$name"
    fi
}

# run ARGUMENTS...: to out and err.
run()
{
    timeout 120 "$CHECKPOINT" --workers 2 "$@" >out 2>err </dev/null
}

# expect NAME STATUS PATTERN ARGUMENTS...: its status, and the last line.
expect()
{
    name=$1 status=$2 pattern=$3
    shift 3
    run "$@"
    got=$?
    if [ $got -ne "$status" ]; then
        bad "$name: status $got, not $status"
    elif ! tail -n 1 err | grep -q -e "$pattern"; then
        bad "$name: the last line is not $pattern"
    else
        ok "$name"
    fi
}

# Processes of the session of a process that was started here with setsid.
session()
{
    sed 's/^\([0-9]*\) (.*) /\1 /' /proc/[0-9]*/stat 2>/dev/null |
        awk -v sid="$1" '$5 == sid && $2 != "Z" { print $1 }'
}

# Kill a whole session, and see that nothing of it is left.
kill_session()
{
    tries=0
    while pids=$(session "$1") && [ -n "$pids" ]; do
        # shellcheck disable=SC2086 # a list
        kill -KILL $pids 2>/dev/null
        tries=$((tries + 1))
        [ $tries -lt 200 ] || return 1
        sleep 0.1
    done
}

random() # from 0 to 65535
{
    od -An -N2 -tu2 /dev/urandom | tr -d ' '
}

total=200 # chunks

# ---- an unbroken run ----

expect "unbroken" 0 '^ran 200, restored 0$' whole.db
cp out expected
verify "2,000 rows" test "$(wc -l <expected)" = 2000
expect "once more" 0 '^ran 0, restored 200$' whole.db
verify "the same, restored" cmp -s out expected
expect "another number of workers" 0 '^ran 200, restored 0$' --workers 1 one.db
verify "the same, with one worker" cmp -s out expected

# ---- killed at random instants ----

# A chunk takes 10 ms besides its own work, so that a kill meets a run.
wanted=4
[ "${FORKPOOL_TEST_FULL-0}" != 1 ] || wanted=20
kills=0 sweeps=0 left=0 before=0 lost=0 lose=4
rm -f killed.db*
while [ $kills -lt $wanted ]; do
    setsid "$CHECKPOINT" --workers 2 --slow-us 1000 --lose $lose --verbose 1 \
        killed.db >out 2>err </dev/null &
    pid=$!
    sleep "0.$(printf '%03d' $(($(random) % 500)))"
    if kill -0 $pid 2>/dev/null && ! grep -q '^ran' err; then
        kill_session $pid || bad "kill $kills: workers are left"
        kills=$((kills + 1))
    fi
    wait $pid
    status=$?
    kept=$(grep -c '^kept' err)
    restored=$(sed -n 's/^ran [0-9]*, restored //p' err)
    if [ $status -eq 0 ]; then # it was done before the kill
        cmp -s out expected || left=$((left + 1))
        [ "$restored" -ge $((before - lost)) ] || left=$((left + 1))
        [ $((restored + kept)) -eq $total ] || left=$((left + 1))
        sweeps=$((sweeps + 1)) before=0 lost=0 lose=$((4 - lose))
        rm -f killed.db*
    else
        # So many were kept at least, should all have gone well before.
        before=$((before + kept)) lost=$((lost + lose))
        grep -v '^kept' err && left=$((left + 1))
    fi
done
verify "$wanted kills; each run went on" test $left -eq 0
expect "the last run" 0 '^ran ' --lose 4 killed.db
verify "the same bytes" cmp -s out expected
ran=$(sed -n 's/^ran \([0-9]*\), .*/\1/p' err)
restored=$(sed -n 's/^ran .* restored //p' err)
verify "only what was missing ran" test $((ran + restored)) -eq $total
verify "what was kept is there, but $lost" test "$restored" -ge \
    $((before - lost))
echo "    $kills kills, $sweeps sweeps ended by themselves; at last $(cat err)"

# ---- refused ----

# refused NAME PATTERN FILE ARGUMENTS...: and the file is as it was.
refused()
{
    name=$1 pattern=$2 file=$3
    shift 3
    cp "$file" copy
    run "$@" "$file"
    if [ $? -eq 0 ] || ! grep -q -e "$file: $pattern" err; then
        bad "$name"
    elif ! cmp -s "$file" copy || [ -s out ]; then
        bad "$name: it wrote something"
    else
        ok "$name"
    fi
}

echo 'These are my notes, and they are not a database at all.' >notes.txt
refused "a text" 'file is not a database' notes.txt
head -c 8192 /dev/urandom >noise
refused "noise" 'file is not a database' noise
if command -v sqlite3 >/dev/null; then
    sqlite3 foreign.db 'CREATE TABLE chunk (first); INSERT INTO chunk VALUES(1)'
    refused "another program's database" 'a database of another program' \
        foreign.db
    cp whole.db claimed.db
    sqlite3 claimed.db 'PRAGMA application_id = 7'
    refused "one of another program with the same tables" \
        'a database of another program' claimed.db
fi
refused "fewer rows" 'of another job, or of other parameters' whole.db \
    --rows 1999
refused "another job" 'of another job, or of other parameters' whole.db \
    --steps 1001
expect "no directory" 1 'no/such.db: unable to open' no/such.db
expect "no rows" 2 'rows' --rows 0 none.db
expect "no number" 2 'rows' --rows 1x none.db
verify "nothing was made" test ! -e none.db

# Two at a time: the second is told, the first ends as if alone.
"$CHECKPOINT" --workers 2 --slow-us 1000 --verbose 1 shared.db >first 2>log &
pid=$!
tries=0
while ! grep -qs '^kept' log && [ $tries -lt 200 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
if kill -STOP $pid; then
    expect "a file that is in use" 1 'shared.db: database is locked' shared.db
    kill -CONT $pid
fi
wait $pid
verify "the first of two" cmp -s first expected

# ---- a full disk ----

mkdir small
if mount -t tmpfs -o size=1m tmpfs small 2>/dev/null; then
    mounted=yes
    pattern='small/full.db: database or disk is full'
    run --rows 200000 --steps 1 small/full.db
else # no root: no file above 512 KiB
    pattern='small/full.db: disk I/O error'
    (
        trap '' XFSZ
        ulimit -f 1024
        run --rows 200000 --steps 1 small/full.db
    )
fi
verify "a full disk: it fails" test $? -ne 0
verify "a full disk: it says so" grep -q "$pattern" err
verify "a full disk: and that the rest is kept" grep -q \
    'not finished: .* small/full.db keeps what it has' err
verify "a full disk: no results" test ! -s out
cp small/full.db* .
expect "with room it goes on" 0 '^ran [1-9][0-9]*, restored [1-9]' \
    --rows 200000 --steps 1 --lose 100 full.db
mv out full
run --rows 200000 --steps 1 --lose 100 roomy.db
verify "as if there had always been room" cmp -s out full

echo "$failures failures"
[ $failures -eq 0 ]
