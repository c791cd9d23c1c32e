# The guide for authors of plugins, followed to the letter: its commands are run and its files written, out of the tree, with
# the images that were just built. Sourced by .ci/image, which sets `state`, `root`, `image`, `container` and `binds`.
# shellcheck shell=bash disable=SC2154

# guide_script: the chapter of plugin-api/README.md that leads to a sample, as a script. A block of `sh` is run; a block that
# begins with a comment `// FILE: …` becomes that file.
guide_script() {
    awk '
        /^#/ && !block { chapter = /^## From an empty folder/ }
        !chapter { next }
        /^```sh$/ { block = "commands"; next }
        /^```/ && !block { block = "file"; first = 1; next }
        /^```$/ {
            if (block == "file") print "END_OF_FILE"
            block = ""
            next
        }
        block == "file" && first {
            if (!match($0, /^\/\/ [^ :]+:/)) { print "echo a block of the guide names no file >&2; exit 1"; exit }
            printf "cat >%s <<\047END_OF_FILE\047\n", substr($0, 4, RLENGTH - 4)
            first = 0
        }
        block { print }
    ' "$root/plugin-api/README.md"
}

# docker_stand_in FOLDER: puts a `docker` there that does with buildah and podman what the guide asks of Docker. The compiler
# comes from this machine, as in the builds of the images; what runs for long is bounded and can't gain rights.
docker_stand_in() {
    mkdir -p "$1"
    {
        printf '#!/usr/bin/env bash\nset -euo pipefail\nbinds=('
        printf '%q ' "${binds[@]}"
        cat <<'SCRIPT'
)
verb=$1
shift
case $verb in
    build) exec buildah bud --isolation chroot --pull-never --format docker --layers "${binds[@]}" "$@" ;;
    run)
        options=(--pull never)
        case " $* " in
            # Debug information is half of the work, and nobody looks at it here.
            *:sdk\ *) options+=("${binds[@]}" --network host --env CARGO_PROFILE_DEV_DEBUG=0) ;;
            *) options+=(--security-opt no-new-privileges --memory 256m) ;;
        esac
        exec podman run "${options[@]}" "$@"
        ;;
    *) exec podman "$verb" "$@" ;;
esac
SCRIPT
    } >"$1/docker"
    chmod +x "$1/docker"
}

# follow_guide: from an empty folder to a sample in the Prometheus that runs; the guide's container goes on running.
follow_guide() {
    local folder=$state/author
    rm -rf "$folder"
    mkdir -p "$folder/empty"
    docker_stand_in "$folder/bin"
    guide_script >"$folder/guide.sh"
    in_author_folder "$folder/guide.sh" "$folder/empty" || {
        podman logs "$container" 2>/dev/null
        return 1
    }
}

# follow_template_ci: what the template's workflow does at each push.
follow_template_ci() {
    local folder=$state/author workflow=$state/author/empty/$container/.github/workflows/ci.yml
    sed -n 's/^ *- run: //p' "$workflow" >"$folder/ci.sh"
    [[ $(wc -l <"$folder/ci.sh") == 2 ]] || { say "two commands were expected in $workflow"; return 1; }
    in_author_folder "$folder/ci.sh" "$state/author/empty/$container"
}

in_author_folder() {
    (cd "$2" && PATH=$state/author/bin:$PATH PROMETHEUS=http://127.0.0.1:$prometheus_port \
        timeout --kill-after 10 900 bash -euxo pipefail "$1" </dev/null)
}
