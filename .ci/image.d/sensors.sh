# The images of the sensors: each is the host's with another plugin, and reads what it is for. Sourced by .ci/image, which sets
# `state`, `root`, `image` and `container`, builds, and starts and stops containers.
# shellcheck shell=bash disable=SC2154

sensors=(rapl nvml scrape python)

build_sensors() {
    local sensor
    for sensor in "${sensors[@]}"; do
        say "image: $image:$sensor"
        build "$image:$sensor" "$root" --build-arg TARGETARCH=amd64 --target "$sensor"
    done
}

check_sensors() {
    local sensor
    for sensor in "${sensors[@]}"; do
        say "image: $image:$sensor"
        check_sensor_contents "$sensor"
        "check_$sensor"
    done
}

check_sensor_contents() {
    local name=$image:$1 mounted
    check "$1: the host, its user, its end" equal \
        "$(inspect "$name" '{{json .Config.Entrypoint}} {{.Config.User}} {{.Config.StopSignal}}')" \
        '["/opt/monitor/monitor-host"] 65532:65532 SIGTERM'
    check "$1: it is asked how it is" equal \
        "$(inspect "$name" '{{json .HealthCheck.Test}}{{range .Config.Env}}{{if eq . "ADMIN_ADDR=0.0.0.0:9464"}} {{.}}{{end}}{{end}}')" \
        '["CMD","/opt/monitor/monitor-host","health"] ADMIN_ADDR=0.0.0.0:9464'
    mounted=$(podman image mount "$name")
    local files="libmonitor_impl.so monitor-host"
    [[ $1 != python ]] || files="libmonitor_impl.so libmonitor_python_bridge.so monitor-host"
    check "$1: its plugin and the host" equal "$(cd "$mounted/opt/monitor" && echo *)" "$files"
    check "$1: it is that plugin" grep -qa "monitor-$1" "$mounted/opt/monitor/libmonitor_impl.so"
    podman image unmount "$name" >/dev/null
}

# refused WHAT TEXT IMAGE OPTIONS...: such a container ends with 3 and one line of error, which says this.
refused() {
    local what=$1 text=$2 name=$3 status=0 log errors
    shift 3
    log=$(podman run --rm --network none --read-only --cap-drop all --pull never "$@" "$name" 2>&1) || status=$?
    check "$what: status 3" equal "$status" 3
    errors=$(grep '"level":"ERROR"' <<<"$log") || true
    check "$what: one line of error" equal "$(grep -c . <<<"$errors")" 1
    check "$what: it says '$text'" grep -qF "$text" <<<"$errors"
}

# As the kernel shows one package and its cores; readable by root alone.
powercap_tree() {
    local zones=$1/devices/virtual/powercap/intel-rapl
    rm -rf "$1"
    mkdir -p "$zones/intel-rapl:0/intel-rapl:0:0" "$1/class/powercap"
    printf 'package-0\n' >"$zones/intel-rapl:0/name"
    printf 'core\n' >"$zones/intel-rapl:0/intel-rapl:0:0/name"
    local zone
    for zone in intel-rapl:0 intel-rapl:0/intel-rapl:0:0; do
        printf '262143328850\n' >"$zones/$zone/max_energy_range_uj"
        printf '%020d\n' 262143000000 >"$zones/$zone/energy_uj"
        chmod 0400 "$zones/$zone/energy_uj"
        ln -s "../../devices/virtual/powercap/intel-rapl/$zone" "$1/class/powercap/${zone##*/}"
    done
}

# spend FOLDER MICROJOULES: the package's counter goes on by so many. Written over what is there, never cut short.
spend() {
    local file=$1/class/powercap/intel-rapl:0/energy_uj now
    now=$((10#$(<"$file") + $2))
    # The greatest value is the range itself; behind it lies zero.
    ((now <= 262143328850)) || now=$((now - 262143328850))
    printf '%020d\n' "$now" 1<>"$file"
}

# recipe FILE: the options of the `docker run` in a plugin's README, one a line.
recipe() {
    sed -n '/^ *docker run /,/[^\\]$/p' "$root/$1" | tr -d '\\\n' | sed 's/^ *docker run //' | tr -s ' ' '\n'
}

check_rapl() {
    local tree=$state/powercap options step pid
    refused "rapl without powercap" "no RAPL: /sys/class/powercap" "$image:rapl" --user 0
    powercap_tree "$tree"
    refused "rapl as another user than root" "its mode is 0400 and this process runs as uid 65532; run it as root" \
        "$image:rapl" --volume "$tree:/host/sys:ro" --env SYSFS_ROOT=/host/sys

    mapfile -t options < <(recipe plugins/rapl/README.md |
        sed "s|^/sys:|$tree:|; s|http://host:9090|http://127.0.0.1:$prometheus_port|")
    podman run --detach --name "$container" --network host --pull never --memory 256m \
        --env PUSH_INTERVAL_S=1 "${options[@]}" >/dev/null
    # What is spent before the first reading is nobody's.
    check "rapl by the README's recipe: samples in Prometheus" has_samples 'monitor_energy_joules_total{domain="package-0"}' 5
    pid=$(podman inspect --format '{{.State.Pid}}' "$container")
    check "it runs as uid 0, without a capability" equal "$(awk '/^(Uid|CapEff|CapBnd):/ { print $2 }' "/proc/$pid/status" | xargs)" \
        "0 0000000000000000 0000000000000000"
    for ((step = 0; step < 20; step++)); do
        spend "$tree" 123456
        sleep 0.05
    done
    sleep 0.2
    stopped "rapl"
    check "over a wrap, the joules that were spent are in Prometheus" equal \
        "$(query 'last_over_time(monitor_energy_joules_total{domain="package-0"}[1h])')" 2.46912
    check "in the original's records too" equal \
        "$(query 'sum_over_time(pyjoules_remote_write_energy_uj{component="package_0"}[1h])')" 2469120
    check "and the wrap is counted" equal "$(query 'last_over_time(monitor_rapl_wraps_total[1h])')" 1
    rm -rf "$tree"
}

# The library that plays NVML, where the container toolkit puts the driver's.
check_nvml() {
    local folder=$state/nvml gpu='{gpu="0",source="nvml"}'
    refused "nvml without a driver" "libnvidia-ml.so.1" "$image:nvml"
    check "nvml asks the container toolkit for the driver's library" equal \
        "$(inspect "$image:nvml" '{{json .Config.Env}}' | grep -oE '"NVIDIA_[^"]*"' | sort | xargs)" \
        "NVIDIA_DRIVER_CAPABILITIES=utility NVIDIA_VISIBLE_DEVICES=all"
    rm -rf "$folder"
    mkdir -p "$folder/shown"
    chmod 0777 "$folder/shown"
    cc -std=gnu11 -O1 -shared -fPIC -o "$folder/libnvidia-ml.so.1" "$root/host/tests/it/nvml/player.c" -lpthread
    printf '%s\n' 'gpus 1' 'driver 570.01.02' '0.uuid GPU-00000000-1111-2222-3333-444444444444' '0.name Player' \
        '0.capability 90' '0.energy 7000000' '0.field186 251000' '0.temperature 61' >"$folder/shown/shown"
    started "$image:nvml" --env NVML_PLAYER=/shown/shown --volume "$folder/shown:/shown" \
        --volume "$folder/libnvidia-ml.so.1:/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1:ro"
    check "nvml: samples in Prometheus" has_samples "monitor_power_watts$gpu" 5
    check "nvml: the power that the driver shows" equal \
        "$(query 'last_over_time(monitor_power_watts{gpu="0",method="instant"}[1h])')" 251
    stopped "nvml"
    rm -rf "$folder"
}

check_scrape() {
    refused "scrape without a target" "SCRAPE_TARGETS" "$image:scrape"
    local target='{job="prometheus",__name__="prometheus_build_info"}'
    started "$image:scrape" --env "SCRAPE_TARGETS=http://127.0.0.1:$prometheus_port/metrics" --env SCRAPE_JOB=prometheus \
        --env SCRAPE_INTERVAL_S=1
    check "scrape: Prometheus's own metrics are in Prometheus" has_samples "$target" 3
    check "scrape: the target is up" equal \
        "$(query "last_over_time(up{job=\"prometheus\",instance=\"127.0.0.1:$prometheus_port\"}[1h])")" 1
    stopped "scrape"
}

# A derived image that adds a module of the original's kind, and nothing else.
check_python() {
    local folder=$state/python module derived=python-sensor
    refused "python without a module" "monitor_impl.py" "$image:python"
    rm -rf "$folder"
    mkdir -p "$folder"
    module=$root/host/tests/it/alike/waits.py
    cp "$module" "$folder/monitor_impl.py"
    printf 'FROM %s\nCOPY monitor_impl.py /opt/monitor/\n' "$image:python" >"$folder/Dockerfile"
    build "$derived" "$folder"
    started "$derived" --env SCRAPE_INTERVAL_S=0.1
    check "python: what an unchanged module reads is in Prometheus" has_samples read_at 15
    stopped "python"
    rm -rf "$folder"
}
