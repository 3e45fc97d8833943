#!/bin/sh
# The program examples/10-desalination as a whole: what it prints and writes,
# that neither depends on the number of workers, and every kind of bad input.
# DESALINATION: the program; srcdir: the source tree's root.
set -u
: "${DESALINATION:=examples/10-desalination}" "${srcdir:=.}"
if [ ! -x "$DESALINATION" ]; then
    echo "SKIP: no $DESALINATION (built without GSL or libcsv)"
    exit 77
fi
case $DESALINATION in /*) ;; *) DESALINATION=$PWD/$DESALINATION ;; esac
data=$(cd "$srcdir" && pwd)/examples/data/feed-waters.csv
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
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
    sed 's/^/    /' out err 2>/dev/null
    failures=$((failures + 1))
}

# verify NAME COMMAND...: the command succeeds.
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

# expect NAME STATUS PATTERN ARGUMENTS...: the exit status, and a line of the
# output or of the messages that matches.
expect()
{
    name=$1 status=$2 pattern=$3
    shift 3
    timeout 120 "$DESALINATION" "$@" >out 2>err </dev/null
    got=$?
    if [ $got -ne "$status" ]; then
        bad "$name: status $got, not $status"
    elif ! cat out err | grep -q -e "$pattern"; then
        bad "$name: nothing matches $pattern"
    else
        ok "$name"
    fi
}

# refuse NAME PATTERN CONTENTS: an input file, as printf takes it.
refuse()
{
    # shellcheck disable=SC2059
    printf "$3" >bad.csv
    expect "$1" 2 "$2" --input bad.csv --output refused.csv
    [ ! -e refused.csv ] || bad "$1: wrote its output all the same"
}

# accept NAME ROWS CONTENTS: likewise, where there is nothing to refuse.
accept()
{
    # shellcheck disable=SC2059
    printf "$3" >good.csv
    expect "$1" 0 "= $2 rows" --input good.csv --grid 1 --dry-run
}

h='water,salinity,temperature\n'

# ---- what it prints and writes ----

expect "sweep" 0 '^  All rows: two.csv$' --workers 2 --input "$data" \
    --output two.csv --grid 6
verify "counts" grep -q '12 waters x 6 recoveries x 6 fluxes = 432 rows' out
verify "source" grep -q 'Sharqawy et al. 2010 .* below 10 g/kg' out
verify "range" grep -q 'range 0-120 g/kg' out
# shellcheck disable=SC2016
verify "ranks" awk '$1 == "fork" { ranks++; rows += $3; failed += $5 }
    $1 == "serial" && $3 == 432 { serial++; same = $5 }
    END { exit !(ranks == 2 && rows == 432 && serial == 1 &&
        failed == same && failed > 0) }' out
verify "serial comparison" grep -q '^  Serial run: same bits$' out
verify "best and worst rows" grep -Eq \
    '^ Baltic Sea +7.4 +8 \| +[0-9.]+ [0-9.]+ [0-9]+% .*\| +[0-9.]+ ' out
verify "twelve waters" test "$(grep -c '%.*%' out)" = 12
verify "no progress bar without a terminal" test ! -s err
# shellcheck disable=SC2016
verify "rows: energy, minimum, NaN with a reason" awk -F, '
    NR == 1 { if (NF != 11 || $11 != "failure") exit bad = 1; next }
    NF != 11 { exit bad = 1 }
    $11 == "" { solved++
        if (!($9 >= $10 && $10 > 0 && $6 > 0 && $6 < $7)) exit bad = 1 }
    $11 != "" { failed++
        for (i = 6; i <= 10; i++) if ($i != "nan") exit bad = 1 }
    END { exit bad || !(solved + failed == 432 && solved > 300 && failed) }' \
    two.csv
n=$(grep -c ',Reynolds number outside' two.csv)
verify "reasons are counted" grep -q "^  NaN: $n rows, Reynolds number" out

for w in 1 3 5; do
    expect "workers $w" 0 'All rows' --workers $w --input "$data" --grid 6 \
        --output "$w.csv" --no-compare
    verify "--no-compare" test "$(grep -c 'Serial run' out)" = 0
    verify "same file with $w workers" cmp -s two.csv "$w.csv"
done
expect "default output" 0 'All rows: desalination.csv' --input "$data" \
    --grid 2 --no-compare
verify "desalination.csv" test -s desalination.csv
expect "default rows" 0 '= 12288 rows' --input "$data" --dry-run
if command -v script >/dev/null; then
    script -qec "'$DESALINATION' --input '$data' --output tty.csv" tty \
        >/dev/null 2>&1 </dev/null
    verify "progress bar" grep -q '\[##* *\] [0-9]* of 12288 rows' tty
fi

# ---- rows that have no solution ----

printf '%bDead Sea,340,25\nIce,35,-2\nPool,-1,25\nSea,35,25\n' "$h" >odd.csv
expect "impossible waters are rows" 0 'NaN: 12 rows, input outside' \
    --input odd.csv --grid 2 --output odd-out.csv
printf '%bLake,110,20\n' "$h" >odd.csv
expect "too salty for the pressure" 0 'more than the pressure limit' \
    --input odd.csv --grid 3 --output odd-out.csv

# ---- bad input ----

expect "no such file" 2 'none.csv: No such file' --input none.csv
expect "a directory" 2 'directory' --input .
refuse "empty file" 'bad.csv: not 1 to' ''
refuse "comments alone" 'bad.csv: not 1 to' '# nothing\n'
refuse "no rows" 'bad.csv: not 1 to' "$h"
refuse "missing column" 'bad.csv:1: 2 columns, none is "temperature"' \
    'water,salinity\nSea,35\n'
refuse "misspelt column, after a comment" \
    'bad.csv:2: 3 columns, none is "salinity"' \
    '# x\nwater,Salinity,temperature\nSea,35,25\n'
refuse "bad number" 'bad.csv:3: column 2 (salinity): no number: "3x"' \
    "${h}Sea,35,25\nSea,3x,25\n"
refuse "empty number" 'bad.csv:2: column 3 (temperature): no number: ""' \
    "${h}Sea,35,\n"
refuse "infinite number" 'bad.csv:2: column 2 (salinity): no number' \
    "${h}Sea,inf,25\n"
refuse "not a number" 'bad.csv:2: column 2 (salinity): no number: "nan"' \
    "${h}Sea,nan,25\n"
refuse "decimal comma" 'bad.csv:2: ends at column 4, not 3' "${h}Sea,35,2,5\n"
refuse "short line" 'bad.csv:3: ends at column 2, not 3' \
    "${h}Sea,35,25\nSea,35\n"
refuse "empty line" 'bad.csv:3: column 1: empty line' \
    "${h}Sea,35,25\n\nSea,35,25\n"
refuse "unclosed quote" 'bad.csv:2: column 1: stray or unclosed quotation' \
    "${h}\"Sea,35,25\nSea,35,25\n"
refuse "unclosed quote at the end" 'bad.csv:2: column 3: stray or unclosed' \
    "${h}Sea,35,\"25"
refuse "stray quote" 'bad.csv:2: column 1: stray or unclosed quotation' \
    "${h}Se\"a,35,25\n"
refuse "NUL in a number" 'bad.csv:2: column 2: NUL byte' \
    "${h}Sea,3\\0005,25\n"
refuse "NUL in a name" 'bad.csv:3: column 1: NUL byte' \
    "${h}Sea,35,25\nS\\000a,35,25\n"
refuse "NUL in the header" 'bad.csv:1: column 1: NUL byte' \
    'wat\000er,salinity,temperature\nSea,35,25\n'
refuse "binary" 'bad.csv:1: ' '\177ELF\002\001\001\000\000\000\n\000\n'

# ---- input that is good ----

accept "CRLF" 2 'water,salinity,temperature\r\nSea,35,25\r\nBay,30,20\r\n'
accept "no newline at the end" 1 "${h}Sea,35,25"
accept "quoted comma and quote" 1 "${h}\"Sea, \"\"the\"\"\",35,25\n"
accept "other columns, another order" 1 \
    'note,temperature,water,salinity\nx,25,Sea,35\n'
accept "comment between rows" 2 "${h}Sea,35,25\n# x\nSea,35,25\n"
accept "spaces around numbers" 1 "${h}Sea, 35 , 25\n"
printf '%b"Sea, ""the""",35,25\n' "$h" >good.csv
expect "quoted name" 0 'All rows' --input good.csv --grid 1 --output q.csv
verify "quoted name is written so" grep -q '^"Sea, ""the""",35,25,' q.csv

# ---- a million rows ----

{
    # shellcheck disable=SC2059
    printf "$h"
    yes 'Sea,35,25' | head -n 1000000
} >million.csv
expect "a million waters" 0 '1000000 waters x 1 .* = 1000000 rows' \
    --input million.csv --grid 1 --dry-run
expect "a thousand million rows" 2 'million.csv: not 1 to 2000000 rows' \
    --input million.csv --grid 32
verify "refused with the numbers" grep -q '= 1024000000 rows' out
{
    cat million.csv
    yes 'Sea,35,25' | head -n 1000001
} >two-million.csv
expect "two million waters and one" 2 \
    'two-million.csv:2000002: more than 2000000 waters' --input two-million.csv
rm two-million.csv
echo 'Sea,35,x' >>million.csv
expect "the last of a million" 2 'million.csv:1000002: column 3' \
    --input million.csv --grid 1

# ---- the command line ----

expect "help" 0 '^--workers N' --help
for a in --nonsense '--grid 0' '--grid 1001' '--grid x' '--grid -1' \
    '--workers x' '--workers 2x' stray; do
    # shellcheck disable=SC2086
    expect "$a" 2 'unusable arguments' --input "$data" $a
done
expect "negative workers" 1 'workers' --input "$data" --grid 1 --workers -1
expect "no way to write" 1 'no/such.csv: No such file' --input "$data" \
    --grid 1 --output no/such.csv
if [ -w /dev/full ]; then
    expect "full disk" 1 '/dev/full: No space left' --input "$data" --grid 2 \
        --output /dev/full
fi

echo "$failures failures"
[ $failures -eq 0 ]
