"""HTTP: routes from dialects, bodies from frames."""
