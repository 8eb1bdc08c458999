"""A text given to a command: as an argument, as a file, or on standard input (`-`)."""

import sys

import click

MAX_TEXT_BYTES = 1 << 20


def text_of(given: str | None, source: str | None, what: str) -> str:
    """The text, of at most 1 MiB; a usage error that names `what` it is where there is none, or too much of it."""
    if given is not None and source is not None:
        raise click.UsageError(f"the {what} is given twice: after the command and with -f")
    if "-" in (given, source):
        if sys.stdin.isatty():
            raise click.UsageError(f"there is no {what}: give it on standard input")
        data = sys.stdin.buffer.read(MAX_TEXT_BYTES + 1)
    elif source is not None:
        data = _read(source, what)
    elif given is not None:
        return given
    else:
        raise click.UsageError(f"there is no {what}: give TEXT, -f FILE, or `-` for standard input")
    if len(data) > MAX_TEXT_BYTES:
        raise click.UsageError(f"the {what} is larger than {MAX_TEXT_BYTES:,} bytes")
    return data.decode("utf-8-sig", "replace").removesuffix("\n")


def _read(source: str, what: str) -> bytes:
    try:
        with open(source, "rb") as handle:
            return handle.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise click.UsageError(f"the {what} {source} cannot be read: {error.strerror}") from None
