# What the steps of .ci share; sourced, never run. Sets nothing but functions, `root`, the top of the repository, and `checks`, how
# many checks have passed.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*"; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

checks=0
# check WHAT COMMAND...: counts, and ends the run with the command's own words where it fails.
check() {
    local what=$1 output
    shift
    if ! output=$("$@" 2>&1); then
        printf '%s\n' "$output" >&2
        die "not so: $what"
    fi
    checks=$((checks + 1))
    say "  ok: $what"
}
equal() { [[ $1 == "$2" ]] || { say "expected '$2', got '$1'"; return 1; }; }

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

# wheels REQUIREMENTS: prints the folder with the commands of exactly these wheels, which a file of the repository names with their
# hashes, installed below target/. Fails where one of them does not fit this machine.
wheels() {
    local venv log=$root/target/ci/pip.log
    venv=$root/target/ci/tools/wheels-$(sha256sum "$root/$1" | cut -c 1-16)
    if [[ ! -e $venv/complete ]]; then
        if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
            installed_or_install 'python3 with venv=python3-venv' >&2
        fi
        {
            python3 -m venv "$venv" &&
                "$venv/bin/pip" install --no-deps --only-binary :all: --require-hashes --requirement "$root/$1"
        } </dev/null >"$log" 2>&1 || return 1
        : >"$venv/complete"
    fi
    printf '%s\n' "$venv/bin"
}
