"""Importing any module starts nothing, reads no file of ours and opens no connection."""

import subprocess
import sys

INERT = """
import os, sys, threading
from importlib import import_module
from pkgutil import walk_packages
# What libraries do when they are imported is theirs.
import aiohttp, click, httptools, hypothesis, msgspec, platformdirs, prometheus_client, pytest
import prompt_toolkit, rich, sqlite3, uvicorn, uvloop, xllamacpp, yaml
import penstock
try:
    import torch, diffusers, transformers
    from diffusers import AutoPipelineForText2Image
    TORCH = ()
except ModuleNotFoundError:  # `make setup-images` was not called: what runs beside us needs it
    TORCH = ("diffusers", "torch")

found = []
CODE = (".py", ".pyc", ".so")

def watch(event, args):
    if event in {"socket.connect", "socket.bind", "subprocess.Popen", "os.fork", "sqlite3.connect"}:
        found.append((event, str(args)[:80]))
    if event == "open" and isinstance(args[0], str) and not args[0].endswith(CODE):
        if "penstock" in args[0] and not os.path.isdir(args[0]):
            found.append((event, args[0]))

threads = threading.active_count()
sys.addaudithook(watch)
names = [m.name for m in walk_packages(penstock.__path__, "penstock.")]
%s
for name in names:
    try:
        import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in TORCH:
            raise
assert len(names) > 40, names
if threading.active_count() != threads:
    found.append("a thread was started")
print(found)
"""


def run(extra: str = "") -> str:
    done = subprocess.run([sys.executable, "-c", INERT % extra], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_is_inert():
    assert run() == "[]"


def test_what_is_not_inert_is_seen():
    assert "socket.connect" in run("import socket; socket.socket().connect_ex(('127.0.0.1', 9))")
