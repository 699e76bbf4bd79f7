#!/bin/bash
# What apt-ostree does, on a system of its own below build/demo: nothing outside it changes.
# Each command is printed before it runs, and its time after it.
set -euo pipefail
cd "$(dirname "$0")/.."

tool=${APT_OSTREE:-dist/apt-ostree}
place=${DEMO:-build/demo}
manifest=examples/debian-13-minimal.toml
ref=debian/13/x86_64/minimal
repo=$place/repo
sysroot=$place/sysroot

if [ "$(id -u)" -ne 0 ]; then
    echo "the demo needs root: it mounts, and makes files of other owners" >&2
    exit 1
fi

run() {
    local begun=$EPOCHREALTIME
    printf '\n$ apt-ostree %s\n' "$*"
    "$tool" "$@"
    printf '(%s s)\n' "$(elapsed "$begun")"
}

# EPOCHREALTIME has six decimals, with the locale's own mark.
elapsed() {
    local tenths=$(((${EPOCHREALTIME//[!0-9]/} - ${1//[!0-9]/}) / 100000))
    printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}

composed_from_this() {
    local note
    note=$(cat "$place/composed" 2>/dev/null) || return 1
    [ "$note" = "$(sha256sum <"$manifest") $(ostree --repo="$repo" rev-parse "$ref" 2>/dev/null)" ]
}

compose() {
    if composed_from_this; then
        printf '\n%s holds %s from this very manifest: not composed again.\n' "$repo" "$ref"
        return
    fi
    mkdir -p "$place"
    run compose tree "$manifest" --repo "$repo"
    echo "$(sha256sum <"$manifest") $(ostree --repo="$repo" rev-parse "$ref")" >"$place/composed"
}

remove_sysroot() {
    [ -e "$sysroot" ] || return 0
    if [ ! -d "$sysroot/ostree/repo" ]; then
        echo "$sysroot is no sysroot; not removing it" >&2
        exit 1
    fi
    # ostree makes the root directory of each deployment immutable.
    local deployment
    for deployment in "$sysroot"/ostree/deploy/*/deploy/*.[0-9]; do
        [ ! -d "$deployment" ] || chattr -i "$deployment"
    done
    rm -rf --one-file-system "$sysroot"
}

begun=$EPOCHREALTIME
compose
remove_sysroot
run compose sysroot --repo "$repo" "$ref" "$sysroot"
run install --sysroot "$sysroot" tree jq vim-tiny
run install --sysroot "$sysroot" git nginx
run status --sysroot "$sysroot"
run db diff --sysroot "$sysroot"
run uninstall --sysroot "$sysroot" jq
run rollback --sysroot "$sysroot"
run status --sysroot "$sysroot"
printf '\nThe demo took %s s.\n' "$(elapsed "$begun")"
