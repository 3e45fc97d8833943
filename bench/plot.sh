#!/bin/sh
# The ratios of a run of make bench as an SVG: a bar for each row that has one
# wanted, on a logarithmic axis, and a tick where it is wanted.
#   plot.sh results.json out.svg
set -eu
results=$1
svg=$2
command -v gnuplot >/dev/null || { echo "plot.sh: gnuplot is missing"; exit 1; }
[ -f "$results" ] || { echo "plot.sh: no $results; run make bench"; exit 1; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# A line of the file is a row; of those with a ratio and a bar this makes
# place, ratio, wanted, 1 where the bar is met, name, and what is measured.
value='s/.*"name": "([^"]*)".*"ratio": ([-+.e0-9]+), "bar": ([-+.e0-9]+), '
value=$value'"better": "([a-z]*)", "met": ([a-z]*).*/\1 \2 \3 \4 \5/p'
sed -nE "$value" "$results" | awk '
    { gsub("_", " ", $1)
      sign = $4 == "lower" ? "≤" : "≥"
      printf "%d %s %s %d \"%s\" \"%.3g (%s %g)\"\n", NR - 1, $2, $3,
          $5 == "true", $1, $2, sign, $3 }' >"$dir/rows"
count=$(wc -l <"$dir/rows")
[ "$count" -gt 0 ] || { echo "plot.sh: no row has a bar"; exit 1; }

gnuplot >"$dir/out.svg" <<END
set terminal svg size 860,$((count * 22 + 90)) dynamic font "sans-serif,12" \
    background "#ffffff"
set encoding utf8
set logscale x
set xrange [0.00001:20000]
set yrange [$count - 0.3:-0.7]
set xlabel "measured; in brackets what is wanted, and there the tick"
set format x "%g"
set ytics scale 0
set grid xtics lc rgb "#dddddd"
set border 3
set key outside top center horizontal
set style fill solid noborder
plot "$dir/rows" \
    using (\$4 == 1 ? \$2 : NaN):1:(0.00001):(\$2):(\$1-0.32):(\$1+0.32):ytic(5) \
        with boxxyerror lc rgb "#4c956c" title "met", \
    "" using (\$4 == 1 ? NaN : \$2):1:(0.00001):(\$2):(\$1-0.32):(\$1+0.32) \
        with boxxyerror lc rgb "#d98c3f" title "short of it", \
    "" using 3:(\$1-0.42):(0):(0.84) with vectors nohead lw 3 \
        lc rgb "#222222" title "wanted", \
    "" using (\$2 > \$3 ? \$2 : \$3):1:6 with labels left offset 1,0 notitle
END
cp "$dir/out.svg" "$svg"
echo "written to $svg"
