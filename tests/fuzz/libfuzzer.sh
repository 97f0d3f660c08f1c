#!/bin/sh
# Runs one libFuzzer target for LLMD_FUZZ_SECONDS (10). What it finds on the way is kept only while it runs; an input that
# breaks something is left in the current folder as crash-..., ready for the corpus.
#
#   libfuzzer.sh PROGRAM CORPUS
set -eu
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
"$1" -max_total_time="${LLMD_FUZZ_SECONDS:-10}" -timeout=10 -print_final_stats=1 "$found" "$2"
