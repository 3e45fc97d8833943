#!/bin/sh
# The shared libraries export exactly the functions that the headers declare,
# and libforkpool what libforkpool-mpi uses of it (tests/private-symbols.txt).
set -eu
library=.libs/libforkpool.so
[ -e "$library" ] || exit 77 # built without shared libraries
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export LC_ALL=C

declared() {
    cat "$@" | perl -0ne '
        s{/\*.*?\*/}{}gs;
        print "$1\n" while /POOL_API\b[^;(]*?\b(pool_\w+)\s*\(/g' | sort -u
}
exported() {
    nm -D --defined-only "$1" | awk '$2 ~ /[TDBR]/ {print $3}' | sort -u
}
declared "$srcdir"/include/forkpool.h "$srcdir"/include/forkpool_codec.h \
    "$srcdir"/include/forkpool_error.h >"$dir/declared"
sort -u "$dir/declared" "$srcdir/tests/private-symbols.txt" >"$dir/wanted"
exported "$library" >"$dir/exported"
diff "$dir/wanted" "$dir/exported"
[ "$(wc -l <"$dir/declared")" -gt 40 ]
library=.libs/libforkpool-mpi.so
if [ -e "$library" ]; then
    declared "$srcdir"/include/forkpool_mpi.h >"$dir/declared-mpi"
    exported "$library" | diff "$dir/declared-mpi" -
fi
echo "ok: $(wc -l <"$dir/declared") functions"
