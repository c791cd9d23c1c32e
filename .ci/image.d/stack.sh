#!/usr/bin/env bash
# The stack of deploy/compose.yaml, its receiver and its dummy client, started for real: podman-compose reads that file, and
# the client's image is the one that was built. Prometheus' image is made here, under the name that compose.yaml gives it: the
# newest of Debian, which is 3.5, and not the version that stands there. Grafana is no package of Debian's: its service is
# not started.
#
# Sourced by .ci/image, which sets `state`, `root`, `image`, `runtime_base` and the containers' storage, for `check_stack`. That calls
# this file as a program in a network of its own: so the stack has the ports that compose.yaml says, on a machine on which
# they may be taken, and of bridge and firewall nothing is left.
# shellcheck shell=bash disable=SC2154

# stack_prometheus NAME: the image.
stack_prometheus() {
    local made=$state/stack-prometheus name=$1 sid=$root/target/receivers/prometheus-sid/prometheus
    ! podman image exists "$name" || return 0
    rm -rf "$made"
    mkdir -p "$made/context/data/prometheus"
    # The tests have fetched it, perhaps.
    if [[ -x $sid ]]; then
        cp "$sid" "$made/context/prometheus"
    else
        downloaded sid "$made/packages" prometheus:amd64
        dpkg-deb --extract "$made"/packages/prometheus_*.deb "$made/root"
        cp "$made/root/usr/bin/prometheus" "$made/context/prometheus"
    fi
    cp "$(prometheus_program | sed 's|[^/]*$|promtool|')" "$made/context/promtool"
    cat >"$made/context/Dockerfile" <<FILE
FROM $runtime_base
COPY prometheus promtool /bin/
COPY --chown=65534:65534 data/ /
USER 65534
WORKDIR /prometheus
VOLUME /prometheus
ENTRYPOINT ["/bin/prometheus"]
FILE
    build "$name" "$made/context"
    rm -rf "$made"
}

# Podman's way to networks with names: two programs, which need not be installed.
stack_network() {
    local made=$state/network package
    if [[ ! -x $made/usr/lib/podman/aardvark-dns ]]; then
        downloaded bookworm "$made" netavark:amd64 aardvark-dns:amd64
        for package in "$made"/*.deb; do dpkg-deb --extract "$package" "$made"; done
        rm "$made"/*.deb
    fi
    sed "s|^\[engine\]|[network]\nnetwork_backend = \"netavark\"\nnetwork_config_dir = \"$state/run/networks\"\n[engine]\nhelper_binaries_dir = [\"$made/usr/lib/podman\", \"/usr/libexec/podman\", \"/usr/lib/podman\"]|" \
        "$state/containers.conf" >"$state/stack.conf"
}

check_stack() {
    say "image: the stack of deploy/compose.yaml, with Prometheus and a client"
    installed_or_install ip=iproute2 iptables=iptables curl=curl
    local tools
    tools=$(wheels .ci/deploy.d/requirements.txt) || die "image: podman-compose can't be installed: see target/ci/pip.log"
    stack_prometheus "$("$tools/python" -c 'import sys, yaml; print(yaml.safe_load(open(sys.argv[1]))["services"]["prometheus"]["image"])' \
        "$root/deploy/compose.yaml")"
    stack_network
    # No settings of whoever runs this: what is to be seen is what the file says.
    env --ignore-environment PATH="$tools:$PATH" HOME="$state/tmp" TMPDIR="$TMPDIR" CONTAINERS_CONF="$state/stack.conf" \
        CONTAINERS_STORAGE_CONF="$CONTAINERS_STORAGE_CONF" state="$state" image="$image" \
        unshare --net "$BASH" "$root/.ci/image.d/stack.sh" || die "image: the stack does not run"
}

[[ ${BASH_SOURCE[0]} == "$0" ]] || return 0

# From here on in the network of its own.
set -euo pipefail
# shellcheck source=.ci/lib.sh
source "$(dirname "$0")/../lib.sh"
# shellcheck source=.ci/image.d/prometheus.sh
source "$root/.ci/image.d/prometheus.sh"

log=$state/stack.log
client=monitor-host_dummy_1
receiver=monitor-host_prometheus_1
prometheus_port=9090

compose() { podman-compose --file "$root/deploy/compose.yaml" "$@" </dev/null >>"$log" 2>&1; }

clean_up() {
    local status=$?
    trap - EXIT
    if ((status)); then
        tail -n 30 "$log" >&2
        podman logs "$receiver" 2>&1 | tail -n 10 >&2 || true
        podman logs "$client" 2>&1 | tail -n 20 >&2 || true
    fi
    compose down --volumes --timeout 0 || true
    exit "$status"
}

# settled WHAT VALUE COMMAND...: until the command prints that, for 60 s at the most.
settled() {
    local wanted=$1 got='' deadline=$((SECONDS + 60))
    shift
    while ((SECONDS < deadline)); do
        got=$("$@" 2>/dev/null) || true
        [[ $got != "$wanted" ]] || return 0
        sleep 0.2
    done
    say "after 60 s it is '$got' and not '$wanted': $*"
    return 1
}
page() { curl --silent --max-time 5 "http://127.0.0.1:9464$1"; }
metric() { page /metrics | sed -n "s/^monitor_client_$1 //p"; }
state_of() { podman inspect --format "$2" "$1"; }
healthy() { podman healthcheck run "$1" >/dev/null 2>&1 && echo yes; }
waits() { (($(metric spool_batches) > 2)) && echo yes; }
rules() { http_get /api/v1/rules | tail -n 1; }
# What the client pushed, each sample by itself; not what the rules make of it.
stored() {
    curl --silent --get http://127.0.0.1:9090/api/v1/query --data-urlencode \
        'query={host="demo",__name__!~"ALERTS.*|monitor_client:.+"}[1h]' | grep -oE '\[1[0-9]{9}[.0-9]*,' | wc -l
}
in_ledger() { podman logs "$client" 2>&1 | tail -n 1 | sed -nE "s/.*\"message\":\"ledger\".*\"$1\":([0-9]+).*/\1/p"; }

trap clean_up EXIT
: >"$log"
ip link set lo up
compose down --volumes --timeout 0
compose up --detach --no-build prometheus dummy

of_dummy='{__name__=~"monitor_dummy_.+"}'
check "the dummy's samples are in Prometheus" wait_for_samples "$of_dummy" 15
check "each series tells its host" settled 0 query "count({__name__=~\"monitor_.+\",host!=\"demo\"}) or vector(0)"
check "monitor_client_up is 1" settled 1 query 'monitor_client_up{host="demo",instance="demo",job="monitor-dummy"}'
check "it comes by remote write 2.0" settled 2 query 'monitor_client_remote_write_version{host="demo"}'
check "Prometheus has the alert rules" grep -q '"name":"MonitorClientSilent"' <(rules)
check "none of them is wrong" equal "$(rules | grep -c '"health":"err"' || true)" 0
check "Prometheus takes late samples" grep -q 'out_of_order_time_window: 2d' <(http_get /api/v1/status/config)
check "the page is on the port of this machine" equal "$(page /live)" alive
check "the client is healthy, as its image asks" settled yes healthy "$client"
check "Prometheus is healthy, as compose.yaml asks" settled yes healthy "$receiver"

pid=$(state_of "$client" '{{.State.Pid}}')
check "the client is nobody, can become nothing" equal \
    "$(awk '/^(Uid|CapEff|CapBnd|NoNewPrivs):/ { print $2 }' "/proc/$pid/status" | xargs)" "65532 0000000000000000 0000000000000000 1"
check "its root is read-only" grep -qE '^[^ ]+ / [^ ]+ ro,' "/proc/$pid/mounts"
check "its memory has a bound" equal "$(state_of "$client" '{{.HostConfig.Memory}}')" $((256 << 20))
check "it is restarted" equal "$(state_of "$client" '{{.HostConfig.RestartPolicy.Name}}')" unless-stopped

# An outage: batches wait in the volume, through a restart of the client as well.
compose stop prometheus
check "in an outage, batches wait in its volume" settled yes waits
check "it is alive" equal "$(page /live)" alive
compose stop dummy
check "the client ends with 0 in an outage too" equal "$(state_of "$client" '{{.State.ExitCode}}')" 0
waiting=$(in_ledger pending)
check "and leaves what waits there ($waiting samples)" test "${waiting:-0}" -gt 0
delivered=$(in_ledger delivered)
compose start prometheus
compose start dummy
check "afterwards all of it is delivered" settled 0 metric spool_batches
check "the client is healthy again" settled yes healthy "$client"

compose stop dummy
check "the client ends with 0 when it is stopped" equal "$(state_of "$client" '{{.State.ExitCode}}')" 0
check "its ledger: nothing dropped, nothing left" equal "$(in_ledger dropped) $(in_ledger pending)" "0 0"
delivered=$((delivered + $(in_ledger delivered)))
check "all $delivered samples of both runs are in Prometheus, once" settled "$delivered" stored

# What the profile rapl needs of the image's volume.
podman run --detach --name stack-root --network none --read-only --cap-drop all --user 0 --pull never \
    --volume monitor-host_root-spool:/var/spool/monitor-host --env SPOOL_DIR=/var/spool/monitor-host "$image" >>"$log"
check "a uid 0 without capabilities has its spool" settled yes \
    bash -c 'podman logs stack-root 2>&1 | grep -q "batches wait on disk" && echo yes'
podman rm --force --time 10 --volumes stack-root >>"$log"
podman volume rm --force monitor-host_root-spool >>"$log"

compose down --volumes --timeout 0
check "nothing of it is left" equal "$(podman ps --all --quiet --filter name=monitor-host; podman volume ls --quiet --filter name=monitor-host_)" ''
say "image: the stack: $checks checks passed, against Prometheus $("$root"/target/receivers/prometheus-sid/prometheus --version 2>/dev/null | sed -nE '1s/.*version ([^ ]+).*/\1/p')"
