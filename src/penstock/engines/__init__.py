"""One file per API shape: `Config` and `Engine`. `[bindings.NAME] engine` names a file here."""
