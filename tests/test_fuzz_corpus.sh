#!/bin/sh
# The kept fuzzing corpus is replayed: every input is handled without a fault.
set -eu
set -- "$srcdir"/tests/fuzz/corpus/*
[ $# -gt 20 ]
./tests/fuzz_replay "$@"
echo "ok: $# inputs"
