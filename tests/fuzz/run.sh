#!/bin/sh
# Fuzz the decoder and the frame splitter with libFuzzer.
#   tests/fuzz/run.sh [seconds]
# New inputs go to a scratch corpus; a crash is kept in ./fuzz-crash-*.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1-60}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/new"
${CLANG-clang} -g -O1 -fsanitize=fuzzer,address,undefined \
    -fno-sanitize-recover=undefined -Iinclude -iquote src \
    tests/fuzz/fuzz_codec.c src/enc.c src/dec.c src/check.c src/format.c \
    src/frame.c src/error.c src/mem.c -o "$dir/fuzz"
"$dir/fuzz" -max_total_time="$seconds" -artifact_prefix=./fuzz-crash- \
    -print_final_stats=1 -verbosity=0 "$dir/new" tests/fuzz/corpus
