#!/bin/sh
# Every source includes what docs/layers.txt allows it, all of which lies in
# its own layer or one below; files and functions keep to their sizes.
set -eu
awk -v srcdir="$srcdir" '
function fail(text) { print text; bad = 1 }
/^# layer/ { layer++; next }
/^#/ || /^$/ { next }
{
    file = $1; sub(/:$/, "", file)
    level[file] = layer
    for (i = 2; i <= NF; i++) {
        allowed[file, $i] = 1
        if (!($i in level)) later[file, $i] = 1
    }
    names[++count] = file
}
END {
    for (pair in later) {
        split(pair, p, SUBSEP)
        if (!(p[2] in level) || level[p[2]] > level[p[1]])
            fail(p[1] " is allowed " p[2] ", which is not below it")
    }
    command = "cd " srcdir "/src && grep -n \"^#include \\\"\" *.c *.h mpi/*.c mpi/*.h"
    while ((command | getline line) > 0) {
        split(line, part, ":")
        file = part[1]
        match(line, /"[^"]*"/)
        header = substr(line, RSTART + 1, RLENGTH - 2)
        if (header ~ /^forkpool/) continue
        if (!(file in level)) fail(file " is not in docs/layers.txt")
        else if (!((file, header) in allowed))
            fail(file " includes " header ", which it is not allowed")
        includes++
    }
    if (includes < 50) fail("only " includes " includes were found")
    command = "cd " srcdir "/src && wc -l *.c *.h mpi/*.c mpi/*.h"
    while ((command | getline line) > 0) {
        split(line, part)
        if (part[2] != "total" && part[1] > 600)
            fail(part[2] " has " part[1] " lines")
        if (part[2] != "total" && !(part[2] in level))
            fail(part[2] " is not in docs/layers.txt")
    }
    exit bad
}' "$srcdir/docs/layers.txt"
echo "ok: layers"
