# Base images under the names that the Dockerfile uses, made of Debian's packages: needs no registry. Sourced by .ci/image,
# which sets `state`, `root` and the containers' storage.
# shellcheck shell=bash disable=SC2154

# debian SUITE VERB ARGUMENTS...: apt-get as if nothing were installed, by lists of its own and the mirrors already in use.
debian() {
    local suite=$1 lists=$state/apt/$1
    if [[ ! -f $lists/complete ]]; then
        mkdir -p "$lists"/{lists,cache/archives}/partial
        : >"$lists/status"
        # Another suite lies on the same mirror, but without the updates of the one that is installed.
        # shellcheck disable=SC2016
        apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' |
            awk -v suite="$suite" '
                $3 != "main" || $2 !~ /^bookworm(-|$)/ { next }
                suite != "bookworm" { if ($2 != "bookworm") next; $2 = suite }
                { print "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]", $1, $2, "main" }
            ' | sort -u >"$lists/sources.list"
        [[ -s $lists/sources.list ]] || die "image: apt names no mirror of Debian 12 on this machine"
        apt_get_by "$lists" update >"$lists/update.log" 2>&1 ||
            die "image: apt-get update failed for $suite: see ${lists#"$root/"}/update.log"
        : >"$lists/complete"
    fi
    apt_get_by "$lists" "${@:2}"
}

apt_get_by() {
    apt-get --yes --quiet --option Dir::Etc::SourceList="$1/sources.list" --option Dir::Etc::SourceParts=/dev/null \
        --option Dir::State::Lists="$1/lists" --option Dir::State::status="$1/status" --option Dir::Cache="$1/cache" \
        --option APT::Sandbox::User=root --option APT::Architectures::=amd64 --option APT::Architectures::=arm64 \
        "${@:2}" </dev/null
}

# unpacked PACKAGES-FOLDER ROOT: the packages' files laid out as Debian 12 has them, /bin and /lib being links into /usr.
unpacked() {
    local package folder
    for folder in bin sbin lib lib64; do
        mkdir -p "$2/usr/$folder"
        ln -s "usr/$folder" "$2/$folder"
    done
    for package in "$1"/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar --extract --directory "$2" --keep-directory-symlink
    done
    # What installing would have done.
    mkdir -p "$2/etc/ssl/certs" "$2/tmp"
    chmod 1777 "$2/tmp"
    cp /etc/ssl/certs/ca-certificates.crt "$2/etc/ssl/certs/"
    printf '%s\n' root:x:0:0:root:/root:/sbin/nologin nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin \
        >"$2/etc/passwd"
    printf '%s\n' root:x:0: nonroot:x:65532: >"$2/etc/group"
}

# imported NAME ARCHITECTURE ROOT CHANGES...
imported() {
    local name=$1 arch=$2 from=$3 change changes=()
    shift 3
    for change; do changes+=(--change "$change"); done
    tar --create --directory "$from" --sort=name --numeric-owner . |
        podman import --quiet --os linux --arch "$arch" "${changes[@]}" - "$name" >/dev/null
    rm -rf "$from"
}

# A C compiler and a shell; Rust itself is bound in when something is built.
rust_base() {
    local name=docker.io/library/rust:1-bookworm made=$state/bases/rust
    podman image exists "$name" && return
    rm -rf "$made" && mkdir -p "$made"
    debian bookworm install --download-only --no-install-recommends \
        base-files bash coreutils dash findutils gcc libc6-dev sed grep >"$made.log" 2>&1 ||
        die "image: packages for $name can't be had: see ${made#"$root/"}.log"
    mkdir "$made/packages"
    mv "$state"/apt/bookworm/cache/archives/*.deb "$made/packages/"
    unpacked "$made/packages" "$made/root"
    rm -rf "$made/packages"
    ln -sf gcc "$made/root/usr/bin/cc"
    [[ -e $made/root/bin/sh ]] || ln -s dash "$made/root/bin/sh"
    imported "$name" amd64 "$made/root" \
        ENV=PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        ENV=CARGO_HOME=/usr/local/cargo ENV=RUSTUP_HOME=/usr/local/rustup
}

# The packages of which the real one consists.
runtime_base() {
    local arch=$1 name=gcr.io/distroless/cc-debian12:nonroot made=$state/bases/runtime-$1
    podman image exists "$name" && return
    rm -rf "$made" && mkdir -p "$made/packages"
    (
        cd "$made/packages"
        debian bookworm download netbase tzdata media-types \
            {base-files,libc6,libgcc-s1,gcc-12-base,libgomp1,libstdc++6,libssl3}":$arch"
    ) >"$made.log" 2>&1 || die "image: packages for $name can't be had: see ${made#"$root/"}.log"
    unpacked "$made/packages" "$made/root"
    rm -rf "$made/packages"
    imported "$name" "$arch" "$made/root" USER=65532 WORKDIR=/home/nonroot \
        ENV=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        ENV=SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
}
