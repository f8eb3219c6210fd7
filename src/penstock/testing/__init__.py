"""Contract suites that authors of engines, dialects and logs import into their own tests."""
