#!/bin/sh
# Runs make targets (default: test) on line B, in a Debian 13 root that it makes beneath .lines/ with debootstrap; as root.
set -eu

cd "$(dirname "$0")/.."
root=$PWD/.lines/debian13
[ "$(id -u)" = 0 ] || { echo "Expected to run as root, which debootstrap and chroot need: sudo make test-lines" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "Expected debootstrap; as root: apt-get install -y debootstrap" >&2; exit 1; }

if [ ! -e "$root/.ready" ]; then
    rm -rf "$root"
    mkdir -p "$root"
    debootstrap --variant=minbase --include=ca-certificates,g++,git,make,python3,python3-dev,python3-venv trixie "$root"
    touch "$root/.ready"
fi
cp /etc/resolv.conf "$root/etc/"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"

# The working tree as it is; the environment of an earlier run stays.
source=$root/root/mal-tf
mkdir -p "$source"
find "$source" -mindepth 1 -maxdepth 1 ! -name '.venv*' ! -name runs -exec rm -rf {} +
git ls-files -z --cached --others --exclude-standard | tar --create --null --ignore-failed-read --files-from - | tar --extract --directory "$source"

# The mounts are this process's alone and end with it.
exec unshare --mount sh -euc '
    mount -t proc proc "$0/proc"
    mount --rbind /dev "$0/dev"
    mount -t tmpfs tmpfs "$0/tmp"
    exec chroot "$0" env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
        make -C /root/mal-tf "$@"
' "$root" "${@:-test}"
