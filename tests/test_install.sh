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

# Nothing of libforkpool-mpi is called: its .pc keeps the linker from dropping
# what pool_create_auto finds there.
pc=prefix/lib/pkgconfig/forkpool-mpi.pc
if [ -e prefix/lib/libforkpool-mpi.so ]; then
    printf '%s\n' '#include <forkpool_mpi.h>' 'int main(void) {' \
        'pool_options_t o = POOL_OPTIONS_INIT; pool_t *pool; o.workers = 1;' \
        'if (pool_create_auto(&pool, &o) < 0) return 1;' \
        'pool_destroy(pool); return 0; }' >auto.c
    # shellcheck disable=SC2046 # flags are words
    $CC $CFLAGS -Wl,--as-needed $(pkg-config --define-prefix --cflags $pc) \
        auto.c $(pkg-config --define-prefix --libs $pc) -o auto
    objdump -p auto | grep -q 'NEEDED.*libforkpool-mpi'
    LD_LIBRARY_PATH=$dir/prefix/lib ./auto
    echo "ok: MPI"
fi
