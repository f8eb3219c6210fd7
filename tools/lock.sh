#!/bin/sh
# Makes the lock files again from pyproject.toml: every package with its hashes, for every platform and Python we support.
set -eu
cd "$(dirname "$0")/.."
uv="${UV:-uv}"
compile() { out=$1; shift; "$uv" pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
    --no-emit-index-url --no-emit-find-links --no-annotate "$@" -o "locks/$out"; }
compile run.txt --extra all --group build pyproject.toml
compile test.txt --extra all --group build --group test pyproject.toml
# What draws pictures, without torch and what only torch needs: which build of it fits is for each machine's pip to say.
without=""
for package in torch jinja2 markupsafe mpmath networkx setuptools sympy; do
    without="$without --no-emit-package $package"
done
echo "torch ; sys_platform == 'none'" | compile images.txt --extra diffusers --override - $without \
    --constraint locks/test.txt pyproject.toml
for client in ${CLIENTS:-langchain litellm schemathesis}; do
    compile "clients-$client.txt" --group "clients-$client"
done
