#!/usr/bin/env bash
# Builds the shim, the fault table and ShimProgram with the address and undefined-behaviour
# sanitizers and every warning an error, outside the Swift package, and runs the program.
# CC chooses the compiler (gcc). Exits 0 and prints the program's "ok" lines if all is well.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

flags=(-std=c11 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all
    -Wall -Wextra -Wconversion -Werror
    -I"$root/CEpoll/include" -I"$root/Tests/CFaults/include")

sources=("$root"/CEpoll/*.c "$root"/Tests/ShimProgram/*.c)
for source in "$root"/Tests/CFaults/*.c; do
    # The sanitizer has an allocator of its own.
    [[ $source == */cf_malloc.c ]] || sources+=("$source")
done

"${CC:-gcc}" "${flags[@]}" "${sources[@]}" -pthread -o "$scratch/shim"
"$scratch/shim"
