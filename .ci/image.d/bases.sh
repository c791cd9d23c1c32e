# Base images under the names that the Dockerfile uses, made of Debian's packages: needs no registry. Sourced by .ci/image,
# which sets `state`, `root`, `architectures`, the bases' names and the containers' storage.
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
        --option APT::Sandbox::User=root "${architectures[@]/#/--option=APT::Architectures::=}" \
        "${@:2}" </dev/null
}

# added FOLDER ROOT: the files of the packages in the folder.
added() {
    local package
    for package in "$1"/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar --extract --directory "$2" --keep-directory-symlink
    done
}

# unpacked FOLDER ROOT: the same in a new root, laid out as Debian 12 is: /bin and /lib are links into /usr.
unpacked() {
    local folder
    for folder in bin sbin lib lib64; do
        mkdir -p "$2/usr/$folder"
        ln -s "usr/$folder" "$2/$folder"
    done
    added "$1" "$2"
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
}

# installable SUITE FOLDER PACKAGES...: downloads what installing them on an empty system would need.
installable() {
    local suite=$1 folder=$2
    debian "$suite" install --download-only --no-install-recommends "${@:3}" >"$folder.log" 2>&1 ||
        die "image: packages can't be had: see ${folder#"$root/"}.log"
    mkdir -p "$folder"
    mv "$state/apt/$suite"/cache/archives/*.deb "$folder/"
}

# downloaded SUITE FOLDER PACKAGES...: these packages and no other.
downloaded() {
    local suite=$1 folder=$2
    mkdir -p "$folder"
    (cd "$folder" && debian "$suite" download "${@:3}") >"$folder.log" 2>&1 ||
        die "image: packages can't be had: see ${folder#"$root/"}.log"
}

# A C compiler and a shell; Rust itself is bound in when something is built.
make_rust_base() {
    local made=$state/bases/rust
    ! podman image exists "$rust_base" || return 0
    rm -rf "$made"
    mkdir -p "$made"
    installable bookworm "$made/packages" base-files bash coreutils dash findutils gcc grep libc6-dev sed
    unpacked "$made/packages" "$made/root"
    imported_rust_base "$made"
}

# The same with a Rust that compiles for arm64: Debian unstable's, because Debian 12's own is too old. What is compiled is
# linked against Debian 12's libc all the same, which is that of the runtime image.
make_cross_base() {
    local made=$state/bases/rust
    ! podman image exists "$rust_base" || return 0
    rm -rf "$made"
    mkdir -p "$made"
    installable sid "$made/packages" base-files bash cargo coreutils dash findutils gcc gcc-aarch64-linux-gnu grep \
        libc6-dev rustc sed
    downloaded sid "$made/rust-arm64" libstd-rust-dev:arm64
    downloaded bookworm "$made/libc-arm64" libc6-arm64-cross libc6-dev-arm64-cross linux-libc-dev-arm64-cross
    unpacked "$made/packages" "$made/root"
    added "$made/rust-arm64" "$made/root"
    added "$made/libc-arm64" "$made/root"
    imported_rust_base "$made"
}

imported_rust_base() {
    mkdir -p "$1/root/usr/local"/{cargo,rustup}
    # As in the real one, whoever the container runs as.
    chmod a+w "$1/root/usr/local"/{cargo,rustup}
    ln -sf gcc "$1/root/usr/bin/cc"
    [[ -e $1/root/bin/sh ]] || ln -s dash "$1/root/bin/sh"
    imported "$rust_base" amd64 "$1/root" \
        ENV=PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        ENV=CARGO_HOME=/usr/local/cargo ENV=RUSTUP_HOME=/usr/local/rustup
    rm -rf "$1"
}

# make_runtime_base ARCHITECTURE: the packages of which the real one consists.
make_runtime_base() {
    local arch=$1 made=$state/bases/runtime
    ! podman image exists "$runtime_base" || return 0
    rm -rf "$made"
    downloaded bookworm "$made/packages" netbase tzdata media-types \
        {base-files,libc6,libgcc-s1,gcc-12-base,libgomp1,libstdc++6,libssl3}":$arch"
    unpacked "$made/packages" "$made/root"
    imported "$runtime_base" "$arch" "$made/root" USER=65532 WORKDIR=/home/nonroot \
        ENV=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        ENV=SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
    rm -rf "$made"
}

# make_python_base ARCHITECTURE: Debian's CPython 3.11 in the place of the real one's, which is the same release in /usr/local.
make_python_base() {
    local arch=$1 made=$state/bases/python
    ! podman image exists "$python_base" || return 0
    rm -rf "$made"
    mkdir -p "$made"
    installable bookworm "$made/packages" \
        {base-files,bash,coreutils,dash,libc6,libgcc-s1,libpython3.11,netbase,python3.11,tzdata}":$arch"
    unpacked "$made/packages" "$made/root"
    ln -s python3.11 "$made/root/usr/bin/python3"
    [[ -e $made/root/bin/sh ]] || ln -s dash "$made/root/bin/sh"
    imported "$python_base" "$arch" "$made/root" \
        ENV=PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin ENV=LANG=C.UTF-8 'CMD=["python3"]'
    rm -rf "$made"
}

# emulator: prints the path of a program that runs arm64 programs.
emulator() {
    local made=$state/emulator
    if [[ ! -x $made/usr/bin/qemu-aarch64 ]]; then
        downloaded sid "$made" qemu-user:amd64
        dpkg-deb --extract "$made"/qemu-user_*.deb "$made"
        rm "$made"/*.deb
    fi
    printf '%s\n' "$made/usr/bin/qemu-aarch64"
}
