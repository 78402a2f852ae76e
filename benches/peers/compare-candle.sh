#!/usr/bin/env bash
# Runs `bandmaster bench throughput` and candle 0.11.1 by turns on the same GGUF files and prints both and the ratio.
#
#   benches/peers/compare-candle.sh BANDMASTER_BINARY MODEL.gguf... [--rounds 3] [--threads N] [--prompt 128] [--gen 24] [--json]
#
# Builds candle for this very processor (`target-cpu=native`), which it needs to be fast. Run it on a quiet machine.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '4s/^# *//p' "$0"; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
target=${PEERS_TARGET_DIR:-$here/target}
RUSTFLAGS="-C target-cpu=native" cargo build --release --quiet --locked --manifest-path "$here/Cargo.toml" --target-dir "$target"
exec python3 "$here/compare_candle.py" "$target/release/candle-peer" "$@"
