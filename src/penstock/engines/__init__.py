"""One file per API shape: `Config` and `Engine`.

A name in `[bindings.NAME] engine` is a file here.
"""
