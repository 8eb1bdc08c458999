"""Programs and services outside: registry of interfaces, one adapter a kind, reading of output and errors."""
