"""Faces of the daemon: each translates, none decides."""
