#!/bin/sh
# The rows of a run of make bench as the table of a Markdown file: it takes
# the place of what stands between its lines "<!-- figures" and "<!-- end".
#   table.sh results.json docs/performance.md
set -eu
results=$1
page=$2
[ -f "$results" ] || { echo "table.sh: no $results; run make bench"; exit 1; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# A member of $line; nothing where it is not there.
of() {
    printf '%s\n' "$line" |
        sed -nE 's/.*"'"$1"'": ("([^"]*)"|([^,}]*)).*/\2\3/p'
}
short() {
    awk -v x="$1" 'BEGIN {
        if (x == "") exit
        if (x >= 1e6) printf "%.2f M", x / 1e6
        else if (x >= 1e3) printf "%.0f", x
        else printf "%.3g", x }'
}

{
    echo '| name | value | peer | its value | ratio | wanted |'
    echo '| --- | --- | --- | --- | --- | --- |'
    grep '"name": ' "$results" | while read -r line; do
        wanted=$(of bar)
        [ -z "$wanted" ] || case $(of better) in
        lower) wanted="≤ $wanted" ;;
        *) wanted="≥ $wanted" ;;
        esac
        case $(of met) in false) wanted="$wanted, short" ;; esac
        if [ -n "$(of missing)" ]; then
            echo "| $(of name) | | $(of peer) | | missing | $wanted |"
        else
            peer_value=$(short "$(of peer_value)")
            [ -n "$(of peer)" ] || peer_value=
            echo "| $(of name) | $(short "$(of value)") $(of unit) |" \
                "$(of peer) | $peer_value | $(short "$(of ratio)") | $wanted |"
        fi
    done
} >"$dir/table"
awk -v table="$dir/table" '
    /^<!-- end/ { inside = 0 }
    !inside { print }
    /^<!-- figures/ { inside = 1; while ((getline row < table) > 0) print row }
    ' "$page" >"$dir/page"
cp "$dir/page" "$page"
echo "written to $page"
