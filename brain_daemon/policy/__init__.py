"""Decisions as pure functions of values: routing, readiness, admission, retry, recovery, trust."""
