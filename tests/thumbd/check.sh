#!/usr/bin/env bash
# examples/thumbd under curl, raw sockets, wrk and a browser. Run by `make
# check-thumbd` in a build directory. Prints a line for each check and ends
# with "N passed, N failed".
#
# Debian packages that it needs: libgd-dev libhttp-parser-dev curl perl wrk
# (missing: failures) and chromium with fonts-dejavu-core (missing: skipped).
#   THUMBD_WRK_SECONDS   how long wrk runs (30)
#   THUMBD               the server (examples/thumbd/thumbd)
set -u
here=${srcdir:-.}/tests/thumbd
thumbd=${THUMBD:-examples/thumbd/thumbd}
picture=tests/thumbd/picture
seconds=${THUMBD_WRK_SECONDS:-30}
scratch=$(mktemp -d)
passed=0
failed=0
skipped=0
server=

ok() {
    echo "ok: $1"
    passed=$((passed + 1))
}
bad() {
    echo "FAILED: $1: ${2-}"
    failed=$((failed + 1))
}
skip() {
    echo "skipped: $1: $2"
    skipped=$((skipped + 1))
}
# same NAME GOT WANTED
same() { if [ "$2" = "$3" ]; then ok "$1"; else bad "$1" "'$2', not '$3'"; fi; }
# has NAME TEXT PATTERN...: TEXT matches each of the (extended) patterns.
has() {
    local name=$1 text=$2 pattern
    shift 2
    for pattern; do
        grep -qiE -- "$pattern" <<<"$text" && continue
        bad "$name" "no '$pattern' in '$(tr -d '\0' <<<"$text" | head -c 500)'"
        return
    done
    ok "$name"
}

# start OPTION...: a server in a session of its own; sets server and url.
start() {
    : >"$scratch/out"
    THUMBD_TEST_FAULTS=1 setsid "$thumbd" --port 0 "$@" \
        >"$scratch/out" 2>"$scratch/err" &
    server=$!
    for _ in $(seq 400); do
        grep -q '^listening on ' "$scratch/out" && break
        sleep 0.05
    done
    url=http://$(sed -n 's/^listening on //p' "$scratch/out")
    port=${url##*:}
}

# ended: wait for the server; its exit status in $status.
ended() {
    for _ in $(seq 400); do # 20 s; a zombie is still there for kill -0
        case $(cut -d' ' -f3 "/proc/$server/stat" 2>/dev/null) in
        Z | '') break ;;
        esac
        sleep 0.05
    done
    kill -KILL "$server" 2>/dev/null
    wait "$server"
    status=$?
}

# stop NAME: end the server by SIGTERM; it must leave nothing behind.
stop() {
    kill -TERM "$server"
    gone_well "$1"
}

# Workers and forkserver go with the server.
nothing_left() {
    local left
    for _ in $(seq 400); do
        left=$(perl "$here/raw.pl" session "$server")
        [ "${left% *}" = 0 ] && break
        sleep 0.05
    done
    same "$1: no process is left" "${left% *}" 0
}

gone_well() {
    ended
    same "$1: exit status after SIGTERM" "$status" 0
    nothing_left "$1"
    grep -v '^thumbd: .* replies on ' "$scratch/err" >"$scratch/said"
    same "$1: nothing else on standard error" "$(head -c 500 "$scratch/said")" ''
    grep '^thumbd: ' "$scratch/err" | sed 's/^/    /'
    server=
}

finish() {
    [ -n "$server" ] && kill -KILL "$server" 2>/dev/null
    rm -rf "$scratch"
}
trap finish EXIT

ask() { curl -s -m 20 "$@"; }
# code ARGUMENT...: the status of a request.
code() { ask -o /dev/null -w '%{http_code}' "$@"; }
# figure NAME: one of /stats.json.
figure() { ask "$url/stats.json" | sed -n "s/.*\"$1\":\\([0-9.]*\\).*/\\1/p"; }

make_images() {
    "$picture" make jpeg 640 480 >"$scratch/a.jpg"
    "$picture" make png 300 600 >"$scratch/a.png"
    "$picture" make jpeg 3000 2000 >"$scratch/large.jpg"
    "$picture" make png 20 10 >"$scratch/small.png"
    head -c 20000 "$scratch/a.jpg" >"$scratch/cut.jpg"
    head -c 2000 "$scratch/a.png" >"$scratch/cut.png"
    flip a.jpg 5000 >"$scratch/flip.jpg"
    flip a.png 2000 >"$scratch/flip.png"
    # 60,000 x 60,000 pixels, the header says
    (head -c 16 "$scratch/a.png" && printf '\0\0\352\140\0\0\352\140' &&
        tail -c +25 "$scratch/a.png") >"$scratch/bomb.png"
    head -c 3000000 /dev/zero >"$scratch/zeros"
}

# flip FILE AT: FILE with 64 bytes overwritten.
flip() {
    head -c "$2" "$scratch/$1"
    printf 'U\252%.0s' $(seq 32)
    tail -c +$(($2 + 65)) "$scratch/$1"
}

# thumbnail NAME FILE QUERY WANTED: "type WxH"
thumbnail() {
    local type
    type=$(ask -o "$scratch/got" -w '%{http_code} %{content_type}' \
        --data-binary "@$scratch/$2" "$url/thumbnail$3")
    same "$1" "$type $("$picture" tell <"$scratch/got" 2>/dev/null)" \
        "200 image/${4%% *} $4"
}

# refused NAME FILE PATTERN: 502 with a reason
refused() {
    local text
    text=$(ask -w ' status %{http_code}' --data-binary "@$scratch/$2" \
        "$url/thumbnail" | tr -d '\0')
    has "$1" "$text" "$3" 'status 502'
}

# fault BODY PATTERN
fault() {
    has "$1 costs its request" "$(ask -w ' status %{http_code}' -d "$1" \
        "$url/thumbnail")" "$2" 'status 502'
    thumbnail "the request after $1" a.jpg '' 'jpeg 160x120'
}

check_options() {
    has "--help" "$("$thumbd" --help)" '--deadline-ms' '--max-body'
    for wrong in --port=x --port=70000 --workers=-1 --max-body=1k \
        --deadline-ms= --nonsense --address=localhost more; do
        "$thumbd" "$wrong" >"$scratch/said" 2>&1
        case $? in
        1 | 2) has "$wrong is an error" "$(cat "$scratch/said")" 'thumbd: ' ;;
        *) bad "$wrong is an error" "exit status $?" ;;
        esac
    done
    "$thumbd" --port "$port" >"$scratch/said" 2>&1 # where another listens
    has "a port in use is an error" "$(cat "$scratch/said")" 'in use'
}

check_curl() {
    thumbnail "a JPEG" a.jpg '' 'jpeg 160x120'
    thumbnail "a PNG" a.png '' 'png 80x160'
    thumbnail "a large JPEG, wide" large.jpg '?width=1024' 'jpeg 1024x682'
    thumbnail "one pixel" a.png '?x=1&width=1' 'png 1x1'
    thumbnail "a small one stays" small.png '' 'png 20x10'
    for width in 0 1025 x 160x ''; do
        same "width=$width is refused" \
            "$(code --data-binary "@$scratch/a.jpg" "$url/thumbnail?width=$width")" 400
    done
    has "chunked" "$(ask -w '%{http_code} %{content_type}' -o /dev/null \
        -H 'Transfer-Encoding: chunked' --data-binary "@$scratch/a.jpg" \
        "$url/thumbnail")" '200 image/jpeg'
    has "Expect: 100-continue" "$(ask -v -o /dev/null -H 'Expect: 100-continue' \
        --data-binary "@$scratch/large.jpg" "$url/thumbnail" 2>&1)" \
        '< HTTP/1.1 100 Continue' '< HTTP/1.1 200 OK'
    has "keep-alive" "$(ask -v "$url/healthz" "$url/healthz" 2>&1)" \
        'Re-using existing connection'
    refused "a truncated JPEG" cut.jpg 'premature end'
    refused "a truncated PNG" cut.png 'corrupt'
    refused "a JPEG with flipped bits" flip.jpg 'corrupt'
    refused "a PNG with flipped bits" flip.png 'corrupt'
    refused "an image with too many pixels" bomb.png '60000 x 60000'
    refused "no image" zeros 'neither'
    same "an empty body" "$(code -d '' "$url/thumbnail")" 502
    same "413 by Content-Length" \
        "$(code -F "a=@$scratch/zeros" -F "b=@$scratch/zeros" "$url/thumbnail")" 413
    same "413 by Content-Length, at once" "$(code -H 'Expect:' --data-binary \
        "@$scratch/big" "$url/thumbnail")" 413
    same "413 chunked" "$(code -H 'Transfer-Encoding: chunked' --data-binary \
        "@$scratch/big" "$url/thumbnail")" 413
    same "404" "$(code "$url/nothing?x=/")" 404
    has "405 with Allow" "$(ask -i "$url/thumbnail")" ' 405 ' '^Allow: POST'
    has "405 of the page" "$(ask -i -X DELETE "$url/")" ' 405 ' '^Allow: GET, HEAD'
    has "the page" "$(ask -i "$url/")" ' 200 ' 'text/html' '</html>'
    has "HEAD" "$(ask -I "$url/")" ' 200 ' '^Content-Length: [1-9]'
    has "/healthz" "$(ask "$url/healthz")" '^ok$'
    has "/metrics" "$(ask -i "$url/metrics")" 'text/plain; version=0.0.4' \
        'forkpool_tasks_completed_total\{pool="thumbd"\} [1-9]' \
        '^thumbd_loop_longest_stall_seconds [0-9]' \
        '^thumbd_replies_total\{status="413"\} 3'
    has "/stats.json" "$(ask "$url/stats.json")" '"p99_ms":[0-9]'
}

check_faults() {
    fault CRASH 'signal 11'
    fault HANG 'deadline'
    fault OOM 'out of memory'
}

# Its lines join ours.
run_raw() {
    if ! perl "$here/raw.pl" "$@" >"$scratch/raw"; then
        bad "raw.pl $1" "it died"
    fi
    cat "$scratch/raw"
    passed=$((passed + $(grep -c '^ok: ' "$scratch/raw")))
    failed=$((failed + $(grep -c '^FAILED: ' "$scratch/raw")))
}

# One worker hangs, one request waits: the rest is told to come again.
check_overload() {
    local pids=() text
    for _ in 1 2; do
        ask -o /dev/null -d HANG "$url/thumbnail" &
        pids+=($!)
    done
    for _ in $(seq 400); do
        [ "$(($(figure pending) + $(figure running)))" -ge 2 ] && break
        sleep 0.05
    done
    text=$(ask -i -d HANG "$url/thumbnail")
    has "503 where too many wait" "$text" ' 503 ' '^Retry-After: 1'
    wait "${pids[@]}"
    thumbnail "and a thumbnail after that" a.jpg '' 'jpeg 160x120'
}

# SIGINT drains too; a second signal does not wait for what hangs.
check_signals() {
    local asking
    ask -d HANG "$url/thumbnail" >/dev/null &
    asking=$!
    for _ in $(seq 400); do
        [ "$(figure running)" = 1 ] && break
        sleep 0.05
    done
    kill -INT "$server"
    for _ in $(seq 400); do # the listener has gone: the signal was seen
        ask -o /dev/null "$url/healthz" || break
        sleep 0.05
    done
    if kill -0 "$server" 2>/dev/null; then
        ok "SIGINT waits for what is in flight"
    else
        bad "SIGINT waits for what is in flight" "it has ended"
    fi
    kill -TERM "$server"
    ended
    same "a second signal ends at once" "$status" 143
    wait "$asking"
    nothing_left "a second signal"
    server=
}

# ---- wrk -------------------------------------------------------------------

run_wrk() { # SECONDS
    THUMBD_IMAGE=$scratch/a.jpg wrk -t 2 -c 12 -d "$1" --timeout 20s \
        -s "$here/poison.lua" "$url" >"$scratch/wrk" 2>&1
}
counted() { sed -n "s/^$1=//p" "$scratch/wrk"; }

# quiet: wait until nothing runs, all workers are there and one connection
# (ours) is left; then print descriptors and resident KiB.
quiet() {
    for _ in $(seq 400); do
        case $(ask "$url/stats.json") in
        *'"pending":0,"running":0,"workers":2,'*'"connections":1,'*) break ;;
        esac
        sleep 0.05
    done
    echo "$(ls "/proc/$server/fd" | wc -l)" \
        "$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$server/status")"
}

check_wrk() {
    local before after kind lost=0 zombies
    if ! command -v wrk >/dev/null; then
        bad "wrk" "not installed"
        return
    fi
    run_wrk 3s
    before=$(quiet)
    run_wrk "${seconds}s"
    after=$(quiet)
    for kind in connect read write timeout; do
        same "wrk: no $kind error" "$(counted error_$kind)" 0
    done
    same "wrk: no reply of another kind" "$(counted got_other)" 0
    for kind in good crash hang oom; do
        lost=$((lost + $(counted sent_$kind) - $(counted got_$kind)))
        if [ "$(counted got_$kind)" -gt 0 ] &&
            [ "$(counted got_$kind)" -le "$(counted sent_$kind)" ]; then
            ok "wrk: $(counted got_$kind) of $(counted sent_$kind) $kind requests replied as such"
        else
            bad "wrk: $kind" "$(counted got_$kind) of $(counted sent_$kind)"
        fi
    done
    # 12 are under way at the end, and wrk tries the script once before
    lost=$((lost - $(counted got_busy)))
    if [ "$lost" -ge 0 ] && [ "$lost" -le 13 ]; then
        ok "wrk: every request got its reply ($(counted got_busy) times 503)"
    else
        bad "wrk: every request got its reply" "$lost did not"
    fi
    same "wrk: descriptors as before" "${after% *}" "${before% *}"
    if [ "${after#* }" -le $((${before#* } * 5 / 4 + 8192)) ]; then
        ok "wrk: resident memory ${before#* } KiB before, ${after#* } KiB after"
    else
        bad "wrk: resident memory" "${before#* } KiB before, ${after#* } KiB after"
    fi
    zombies=$(perl "$here/raw.pl" session "$server")
    same "wrk: no zombie" "${zombies#* }" 0
    echo "    $(counted replies) replies in $seconds s," \
        "99 % within $(counted p99_us) us, longest stall of the loop" \
        "$(ask "$url/metrics" | sed -n 's/^thumbd_loop_longest_stall_seconds //p') s," \
        "of processor time" \
        "$(ask "$url/metrics" | sed -n 's/^thumbd_loop_longest_stall_cpu_seconds //p') s"
}

# ---- a browser ---------------------------------------------------------------

browse() {
    timeout 120 chromium --headless --no-sandbox --disable-gpu --hide-scrollbars \
        --user-data-dir="$scratch/chromium" --disable-dev-shm-usage \
        --virtual-time-budget=10000 "$@" "$url/?selftest=1" 2>"$scratch/chromium.err"
}

check_browser() {
    local text width
    if ! command -v chromium >/dev/null; then
        skip "the page in a browser" "chromium is not installed"
        return
    fi
    for width in 900 360; do
        text=$(browse --window-size=$width,800 --dump-dom)
        has "the page, $width wide: upload, reason, figures, no scrolling" "$text" \
            'Self test passed' '<dd id="workers">2</dd>' \
            '<dd id="completed">[0-9,]*[1-9]' '<dd id="p99_ms">[0-9]'
    done
    rm -f thumbd-page.png
    browse --window-size=900,820 --screenshot="$PWD/thumbd-page.png" >/dev/null
    if [ -s thumbd-page.png ]; then
        ok "screenshot in thumbd-page.png"
    else
        bad "screenshot" "none; $(tail -n 3 "$scratch/chromium.err")"
    fi
}

# ---- all of it -----------------------------------------------------------------

for tool in curl perl setsid "$thumbd" "$picture"; do
    command -v "$tool" >/dev/null && continue
    bad "$tool" "not installed"
    echo "$passed passed, $failed failed"
    exit 1
done
make_images
cat "$scratch/zeros" "$scratch/zeros" >"$scratch/big"

start --workers 2 --deadline-ms 1000 --max-body 4000000
check_options
check_curl
check_faults
run_raw clients "$port" "$scratch/a.jpg"
stop "checks"

start --workers 1 --idle-ms 500
run_raw slow "$port"
stop "slow clients"

start --workers 1 --max-pending 2 --deadline-ms 2000
check_overload
stop "overload"

start --workers 1 --deadline-ms 300
run_raw gone "$port"
stop "clients that go"

start --workers 2 --deadline-ms 300
check_wrk
stop "wrk"

start --workers 2 --deadline-ms 5000
check_browser
stop "browser"

start --workers 2 --deadline-ms 20000
run_raw drain "$port" "$scratch/large.jpg" "$server"
gone_well "drain"

start --workers 1 --deadline-ms 100000
check_signals

[ "$skipped" -eq 0 ] || echo "$skipped skipped"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
