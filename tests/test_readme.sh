#!/bin/sh
# What README.md shows is true: its program compiles and prints what it says,
# the crash output is that of examples/02, and it names the two commands.
set -eu
readme=$srcdir/README.md
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

block() { # the first fenced block of a language
    awk -v fence="\`\`\`$1" '$0 == fence {on = 1; next}
        /^```/ {if (on) exit} on' "$readme"
}

block c >"$dir/example.c"
lines=$(wc -l <"$dir/example.c")
[ "$lines" -gt 5 ] && [ "$lines" -le 20 ] || {
    echo "the example has $lines lines"
    exit 1
}
$LIBTOOL --silent --mode=link $CC $CFLAGS -Wall -Wextra -Werror \
    -I"$srcdir/include" "$dir/example.c" libforkpool.la -o "$dir/example"
"$dir/example" >"$dir/out"
block output | diff - "$dir/out"
echo "ok: the example prints what the page says"

./examples/02-crash | sed -e 's/worker [0-9]*/worker PID/' \
    -e 's/, core dumped//' >"$dir/crash"
block text | sed 's/worker [0-9]*/worker PID/' | diff - "$dir/crash"
echo "ok: the crash output is what the page says"

for command in './bootstrap demo' './bootstrap check'; do
    grep -qF "$command" "$readme" || {
        echo "README.md does not name: $command"
        exit 1
    }
done
# Files that the page points to are there.
grep -o '](\([a-zA-Z0-9_./-]*\))' "$readme" | sed 's/](\(.*\))/\1/' |
    while read -r file; do
        [ -e "$srcdir/$file" ] || {
            echo "README.md points to $file, which is not there"
            exit 1
        }
    done
echo "ok: commands and links"
