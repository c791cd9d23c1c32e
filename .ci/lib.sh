# What the steps of .ci share; sourced, never run. Sets nothing but functions, and `root`, the top of the repository.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*"; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# installed_or_install COMMAND=PACKAGE...: on Debian, as root, installs the packages whose commands are missing.
installed_or_install() {
    local pair missing=()
    for pair; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    ((${#missing[@]})) || return 0
    if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
        die "not installed: ${missing[*]}; install them, or run this as root on Debian"
    fi
    say "installing ${missing[*]}"
    {
        apt-get update &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
    } </dev/null >"$root/target/ci/apt-get.log" 2>&1 ||
        die "apt-get could not install ${missing[*]}: see target/ci/apt-get.log"
}

# wheel_tool COMMAND WHEEL==VERSION SHA256: prints the path of COMMAND out of exactly this wheel, installed below target/.
# Fails where there is no such wheel for this machine.
wheel_tool() {
    local venv=$root/target/ci/tools/${2//[^a-z0-9.]/-} log=$root/target/ci/pip.log
    if [[ ! -x $venv/bin/$1 ]]; then
        if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
            installed_or_install 'python3 with venv=python3-venv' >&2
        fi
        {
            python3 -m venv "$venv" &&
                "$venv/bin/pip" install --no-deps --only-binary :all: --require-hashes \
                    --requirement <(printf '%s --hash=sha256:%s\n' "$2" "$3")
        } </dev/null >"$log" 2>&1 || return 1
    fi
    printf '%s\n' "$venv/bin/$1"
}
