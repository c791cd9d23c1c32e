# The unit of deploy/systemd under a real systemd, which Debian's packages are booted into in a container without a network: what
# it is told, what its watchdog does, and that the sandbox leaves what a client needs. Sourced by .ci/image, which sets
# `state` and `root`, the containers' storage, and makes bases.
# shellcheck shell=bash disable=SC2154

booted=monitor-host-systemd

make_systemd_base() {
    local made=$state/bases/systemd
    ! podman image exists "$booted" || return 0
    rm -rf "$made"
    mkdir -p "$made"
    installable bookworm "$made/packages" base-files bash coreutils dash systemd systemd-sysv util-linux
    unpacked "$made/packages" "$made/root"
    # Nobody logs in, and nobody waits for a network.
    mkdir -p "$made/root/etc/systemd/system"
    for unit in systemd-firstboot.service systemd-networkd-wait-online.service; do
        ln -s /dev/null "$made/root/etc/systemd/system/$unit"
    done
    imported "$booted" amd64 "$made/root" 'CMD=["/lib/systemd/systemd","--unit=basic.target"]'
    rm -rf "$made"
}

inside() { podman exec "$booted" "$@"; }
property() { inside systemctl show --property "$1" --value monitor-host; }
said() { inside journalctl --quiet --no-pager --output cat --unit monitor-host; }
of_process() { inside cat "/proc/$(property MainPID)/status" | awk -v name="$1:" '$1 == name { print $2 }'; }

# settled VALUE COMMAND...: until the command prints what this pattern is for, for 60 s at the most.
settled() {
    local wanted=$1 got='' deadline=$((SECONDS + 60))
    shift
    while ((SECONDS < deadline)); do
        got=$("$@" 2>/dev/null) || true
        # shellcheck disable=SC2053
        [[ $got != $wanted ]] || return 0
        sleep 0.2
    done
    say "after 60 s it is '$got' and not '$wanted': $*"
    said | tail -n 20
    return 1
}

# configured VARIABLE=VALUE...: the file that the unit reads.
configured() { printf '%s\n' REMOTE_WRITE_URL=http://127.0.0.1:9090/api/v1/write PUSH_INTERVAL_S=1 "$@" | inside_write /etc/monitor-host/environment; }
inside_write() { podman exec --interactive "$booted" bash -c 'mkdir -p "${0%/*}" && cat >"$0"' "$1"; }
# with DROP-IN...: these, and no others; a test's own comes from standard input.
with() {
    local folder=/etc/systemd/system/monitor-host.service.d file
    inside rm -rf "$folder"
    inside_write "$folder/test.conf"
    for file; do inside cp "/deploy/$file" "$folder/"; done
    inside systemctl daemon-reload
    # So that only a test's own failures count.
    inside systemctl reset-failed monitor-host 2>/dev/null || true
}
received() { inside systemd-run --quiet --unit receiver /opt/monitor/monitor-host receive --listen 127.0.0.1:9090; }

# check_systemd FOLDER: with the host and the plugins that lie there.
check_systemd() {
    say "image: deploy/systemd under a real systemd"
    make_systemd_base
    cp "$1/libmonitor_dummy.so" "$1/libmonitor_impl.so"
    powercap_tree "$1/sysfs"
    # As much as pid 1 of a machine has, so that the sandbox is systemd's and not podman's.
    podman run --detach --name "$booted" --network none --systemd always --cap-add all --security-opt seccomp=unconfined \
        --security-opt apparmor=unconfined --pull never --volume "$1:/opt/monitor:ro" --volume "$root/deploy/systemd:/deploy:ro" \
        "$booted" >/dev/null 2>"$state/systemd.log"
    check "systemd has booted" settled '@(running|degraded)' inside systemctl is-system-running
    # As on a machine, where systemd does it at the boot: a service gets its credentials by a mount that is passed on.
    inside mount --make-rshared /
    inside cp /deploy/monitor-host.service /etc/systemd/system/
    configured READY_MAX_AGE_S=1
    printf '[Service]\nWatchdogSec=2\nRestartSec=100ms\n' | with
    received

    check "it starts, and says when it has" starts
    check "it is watched, and says how it is" settled 'ready: the last delivery was *' property StatusText
    check "it is nobody" test "$(of_process Uid)" -gt 60000
    check "it has no capability, can get none, and its system calls are filtered" equal \
        "$(of_process CapEff) $(of_process CapBnd) $(of_process NoNewPrivs) $(of_process Seccomp)" "0000000000000000 0000000000000000 1 2"
    check "its spool is in its folder" grep -q '"dir":"/var/lib/monitor-host"' <(said)

    inside systemctl stop receiver
    check "an outage shows" settled 'not ready: *' property StatusText
    sleep 5
    check "and restarts nothing, longer than its watchdog waits" equal "$(property NRestarts) $(property ActiveState)" "0 active"
    inside bash -c "kill -STOP $(property MainPID)"
    check "a process that stands still is started again" settled 1 property NRestarts
    check "because of the watchdog" grep -q 'Watchdog timeout' <(said)
    received
    check "which delivers what the other left in the spool" settled 'ready: *' property StatusText

    # An end that takes longer than the unit allows, and as long as SHUTDOWN_TIMEOUT_S does.
    configured SHUTDOWN_TIMEOUT_S=5 SPOOL_DIR=/dev/null/none
    printf '[Service]\nTimeoutStopSec=1\n' | with
    inside systemctl restart monitor-host
    inside systemctl stop receiver
    sleep 2
    inside systemctl stop monitor-host
    check "an end may take SHUTDOWN_TIMEOUT_S" equal "$(property Result) $(property ExecMainStatus)" "success 0"
    check "it took its time" grep -q 'SHUTDOWN_TIMEOUT_S is over' <(said)
    received

    configured PUSH_INTERVAL_S=nonsense
    printf '[Service]\nRestartSec=100ms\n' | with
    check "a wrong configuration does not start" equal "$(inside systemctl start monitor-host >/dev/null 2>&1 || echo no)" no
    check "and is not tried again" settled '2 failed' status

    configured MONITOR_IMPL_PATH=/opt/monitor/libmonitor_rapl.so SYSFS_ROOT=/opt/monitor/sysfs
    printf '[Service]\nRestart=no\n' | with
    check "energy counters are not for the unit as it is" equal "$(inside systemctl start monitor-host >/dev/null 2>&1 || status)" "3 failed"
    printf 'of-another' | inside_write /var/lib/another/secret
    printf 'a-token' | inside_write /etc/monitor-host/bearer-token
    with rapl.conf bearer-token.conf </dev/null
    check "with rapl.conf it reads them, and with bearer-token.conf a token" starts
    check "by one capability" equal "$(of_process CapEff)" 0000000000000004
    check "and sees nothing of other services" equal \
        "$(inside nsenter --target "$(property MainPID)" --mount ls /var/lib/another/secret /etc/monitor-host/bearer-token 2>/dev/null | wc -l)" 0
    check "its energy is delivered" settled '*"RAPL is read"*' said
    inside systemctl stop monitor-host
    check "its ledger: nothing dropped, nothing left" grep -q '"pending":0,"dropped":0' <(said | tail -n 4)
    podman rm --force --time 0 "$booted" >/dev/null
}
starts() {
    inside systemctl start monitor-host && return
    said | tail -n 20
    return 1
}
status() { printf '%s %s\n' "$(property ExecMainStatus)" "$(property ActiveState)"; }

# systemd_folder: prints a folder with the host and the plugins, out of the images where those are built, else of cargo.
systemd_folder() {
    local made=$state/systemd mounted
    rm -rf "$made"
    mkdir -p "$made"
    if podman image exists "$image:rapl"; then
        mounted=$(podman image mount "$image:rapl")
        cp "$mounted/opt/monitor/monitor-host" "$made/"
        cp "$mounted/opt/monitor/libmonitor_impl.so" "$made/libmonitor_rapl.so"
        podman image unmount "$image:rapl" >/dev/null
        mounted=$(podman image mount "$image")
        cp "$mounted/opt/monitor/libmonitor_impl.so" "$made/libmonitor_dummy.so"
        podman image unmount "$image" >/dev/null
    else
        cargo build --quiet --locked -p monitor-host -p monitor-dummy -p monitor-rapl
        cp target/debug/{monitor-host,libmonitor_dummy.so,libmonitor_rapl.so} "$made/"
    fi
    printf '%s\n' "$made"
}
