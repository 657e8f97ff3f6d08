#!/bin/bash
# Fails when the generated code is not what the protos say. Works on a copy, so it changes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
go tool -modfile=tools/buf/go.mod buf generate -o "$copy"
status=0
while read -r file; do
	cmp -s "$copy/$file" "$file" || { echo "out of date: $file (run make generate)"; status=1; }
done < <(cd "$copy" && find proto -name '*.pb.go')
exit $status
