#!/bin/sh
# The shared library exports exactly the functions that the headers declare.
set -eu
library=.libs/libforkpool.so
[ -e "$library" ] || exit 77 # built without shared libraries
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cat "$srcdir"/include/*.h | perl -0ne '
    s{/\*.*?\*/}{}gs;
    print "$1\n" while /POOL_API\b[^;(]*?\b(pool_\w+)\s*\(/g' |
    sort -u >"$dir/declared"
nm -D --defined-only "$library" | awk '$2 ~ /[TDBR]/ {print $3}' |
    sort -u >"$dir/exported"
diff "$dir/declared" "$dir/exported"
[ "$(wc -l <"$dir/declared")" -gt 40 ]
echo "ok: $(wc -l <"$dir/declared") functions"
