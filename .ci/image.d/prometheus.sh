# Debian's Prometheus, unpacked and not installed, started on a free port and asked for what it has. Sourced by .ci/image,
# which sets `state` and `debian`. Speaks HTTP by itself: nothing but bash is needed.
# shellcheck shell=bash disable=SC2154

prometheus_port=
prometheus_pid=

prometheus_program() {
    local made=$state/prometheus
    if [[ ! -x $made/usr/bin/prometheus ]]; then
        mkdir -p "$made"
        (cd "$made" && debian bookworm download prometheus) >"$made.log" 2>&1 ||
            die "image: Prometheus can't be had: see ${made#"$root/"}.log"
        dpkg-deb --extract "$made"/prometheus_*.deb "$made"
    fi
    printf '%s\n' "$made/usr/bin/prometheus"
}

# start_prometheus: on a free port, with empty storage; returns when it answers.
start_prometheus() {
    local program attempt
    program=$(prometheus_program)
    printf 'global: {}\n' >"$state/prometheus.yml"
    for attempt in 1 2 3 4 5; do
        rm -rf "$state/prometheus-data"
        prometheus_port=$((RANDOM % 20000 + 12000))
        "$program" --config.file="$state/prometheus.yml" --storage.tsdb.path="$state/prometheus-data" \
            --web.listen-address="127.0.0.1:$prometheus_port" --web.enable-remote-write-receiver \
            </dev/null >"$state/prometheus-$attempt.log" 2>&1 &
        prometheus_pid=$!
        # It ends at once when the port is taken; the next attempt takes another.
        while kill -0 "$prometheus_pid" 2>/dev/null; do
            [[ $(http_get /-/ready) == *Ready* ]] && return
            sleep 0.2
        done
    done
    die "image: Prometheus does not start: see ${state#"$root/"}/prometheus-$attempt.log"
}

stop_prometheus() {
    [[ -n $prometheus_pid ]] || return 0
    kill "$prometheus_pid" 2>/dev/null || true
    wait "$prometheus_pid" 2>/dev/null || true
    prometheus_pid=
}

# http_get PATH: the answer, head and body; nothing where nobody listens.
http_get() {
    {
        exec 3<>"/dev/tcp/127.0.0.1/$prometheus_port" &&
            printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$1" >&3 && cat <&3
    } 2>/dev/null || true
}

# query PROMQL: the value of its one result; nothing where there is none.
query() {
    local encoded='' i
    for ((i = 0; i < ${#1}; i++)); do
        printf -v encoded '%s%%%02x' "$encoded" "'${1:i:1}"
    done
    http_get "/api/v1/query?query=$encoded" | sed -nE 's/.*"value":\[[^,]*,"([^"]*)"\].*/\1/p'
}

# wait_for_samples SELECTOR COUNT: until there are that many, all series together, for 30 s at the most.
wait_for_samples() {
    local have deadline=$((SECONDS + 30))
    while ((SECONDS < deadline)); do
        have=$(query "sum(count_over_time($1[1h]))")
        ((${have:-0} < $2)) || return 0
        sleep 0.2
    done
    say "after 30 s Prometheus has ${have:-no} samples of $1, and not $2"
    return 1
}
