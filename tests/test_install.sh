#!/bin/sh
# Install into an empty prefix; build example 01 there through pkg-config,
# shared and static, and run it.
set -eu
case $srcdir in /*) ;; *) srcdir=$PWD/$srcdir ;; esac
expected=$srcdir/tests/expected/01-submit.txt
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

${MAKE-make} -s install DESTDIR="$dir/root" >"$dir/log" 2>&1 ||
    { cat "$dir/log"; exit 1; }
pc=$(find "$dir/root" -path '*/lib/pkgconfig/forkpool.pc')
[ -n "$pc" ] || exit 77 # configured for another place
mv "${pc%/lib/pkgconfig/forkpool.pc}" "$dir/prefix"
# forkpool.pc names the configured prefix; --define-prefix takes its place.
PKG_CONFIG_PATH=$dir/prefix/lib/pkgconfig
export PKG_CONFIG_PATH
flags() { pkg-config --define-prefix "$@" forkpool; }
cp "$srcdir/examples/01-submit.c" "$dir/one.c"
cd "$dir"
if [ -e prefix/lib/libforkpool.so ]; then
    $CC $CFLAGS $(flags --cflags) one.c $(flags --libs) -o shared
    LD_LIBRARY_PATH=$dir/prefix/lib ./shared | diff "$expected" -
    echo "ok: shared"
fi
if [ -e prefix/lib/libforkpool.a ]; then
    $CC $CFLAGS $(flags --cflags) one.c prefix/lib/libforkpool.a \
        $(pkg-config --libs libuv) -o static
    ./static | diff "$expected" -
    echo "ok: static"
fi
flags --libs | grep -qv luv || { echo "libuv is private"; exit 1; }
