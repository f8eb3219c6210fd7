#!/bin/sh
# Makes the lock files again from pyproject.toml: every package with its hashes, for every platform and Python we support.
set -eu
cd "$(dirname "$0")/.."
uv="${UV:-uv}"
compile() { out=$1; shift; "$uv" pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
    --no-emit-index-url --no-emit-find-links --no-annotate "$@" -o "locks/$out"; }
compile run.txt --extra all --group build pyproject.toml
compile test.txt --extra all --group build --group test pyproject.toml
for client in ${CLIENTS:-langchain litellm schemathesis}; do
    compile "clients-$client.txt" --group "clients-$client"
done
