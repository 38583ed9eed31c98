# shellcheck shell=bash
# What the scripts share: where things are, how they speak, and the stock Linux
# kernel of the hardware-KVM host. Sourced by the others, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
# Used by the scripts that source this one.
# shellcheck disable=SC2034
hardware_cache=$target/hardware-kvm
program=$(basename "$0")

say() { printf '%s: %s\n' "$program" "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# The comment that opens a script is its help text.
usage() { sed -n '2,/^[^#]/ { /^#/ s/^# \{0,1\}//p; }' "$1"; }

# Prints the newest Linux kernel image for which kvm-amd is at hand, and the
# folder of its modules: first the one `scripts/setup test` fetched, then the
# machine's own. Fails when there is none.
find_stock_kernel() {
    local prefix image modules
    for prefix in "$hardware_cache/kernel" ""; do
        while read -r image; do
            modules=$prefix/lib/modules/${image##*/vmlinuz-}
            [ -d "$modules" ] || modules=$prefix/usr${modules#"$prefix"}
            if [ -r "$image" ] && find_module "$modules" kvm-amd >/dev/null; then
                printf '%s\n%s\n' "$image" "$modules"
                return
            fi
        done < <(find "$prefix/boot" -maxdepth 1 -name 'vmlinuz-*' 2>/dev/null | sort -rV)
    done
    return 1
}

# find_module DIR NAME prints the module's file. A name may be written with
# either - or _, and the file may be compressed.
find_module() {
    local file
    file=$(find "$1" -name "${2//[-_]/[-_]}.ko*" -print -quit 2>/dev/null)
    [ -n "$file" ] && printf '%s\n' "$file"
}
