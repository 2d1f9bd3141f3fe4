#!/usr/bin/env bash
# Builds the rustic_core reader outside the workspace and runs the vault's tests that ask it for a second opinion.
#
# usage: oracles/rustic/run.sh [--build-only]    (RUSTIC_TARGET_DIR: where to build, default target/oracle-rustic)
# Prints the path of the built program on its last line with --build-only, for TRIVAULT_ORACLE_RUSTIC.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
target="${RUSTIC_TARGET_DIR:-$root/target/oracle-rustic}"

CARGO_TARGET_DIR="$target" nice cargo build --locked --manifest-path "$here/Cargo.toml"
program="$target/debug/trivault-oracle-rustic"
if [ "${1:-}" = "--build-only" ]; then
    echo "$program"
    exit 0
fi
cd "$root"
TRIVAULT_ORACLE_RUSTIC="$program" cargo test -p trivault-vault --test oracles rustic
