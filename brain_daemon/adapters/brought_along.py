"""What a workspace brings along that a program would run or obey, whatever it is told on its command line.

Some clients run plugins, or obey settings, of the folder they are started in and of those above it up to the repository's
top, and have no switch against it. So their interface files name such paths, and a workspace with one of them is refused.
A program may take an empty `.git` for no repository and look further up, so the outermost `.git` counts here. A person's
own home is not looked at: what lies there is their own, and mostly the program's usual settings.

It is a look before the start and no guard: whoever can write into the workspace meanwhile is not kept from it.
"""

import os
from collections.abc import Iterator, Sequence


def brought_along(workspace: str, names: Sequence[str], home: str) -> str | None:
    """The first path that is there, of those `names` in the workspace and the folders around it; None if there is none."""
    if not names:
        return None
    own = os.path.realpath(home) if home else ""
    places = (place for place in _places(os.path.realpath(workspace)) if place != own)
    paths = (os.path.join(place, name) for place in places for name in names)
    return next(filter(os.path.lexists, paths), None)


def _places(workspace: str) -> Iterator[str]:
    """The workspace, and the folders above it up to the outermost that is the top of a repository."""
    above = [workspace]
    while (parent := os.path.dirname(above[-1])) != above[-1]:
        above.append(parent)
    tops = [number for number, place in enumerate(above) if os.path.lexists(os.path.join(place, ".git"))]
    yield from above[: tops[-1] + 1] if tops else above[:1]
