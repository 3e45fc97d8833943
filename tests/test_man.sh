#!/bin/sh
# The manual pages are well formed, and every public function has one.
set -eu
command -v mandoc >/dev/null 2>&1 || exit 77
mandoc -Tlint -Wwarning "$srcdir/man/forkpool.7" man/*.3
bad=0
for name in $(cat "$srcdir"/include/*.h | perl -0ne '
    s{/\*.*?\*/}{}gs;
    print "$1\n" while /POOL_API\b[^;(]*?\b(pool_\w+)\s*\(/g'); do
    grep -q "^\.Fo $name\$" man/*.3 || { echo "no manual page has $name"; bad=1; }
done
for name in $(perl -ne 'print "POOL_$1\n" if /^    X\((\w+),/' \
    "$srcdir/include/forkpool_error.h"); do
    grep -q "$name" man/pool_errors.3 ||
        { echo "pool_errors(3) has no $name"; bad=1; }
done
exit $bad
