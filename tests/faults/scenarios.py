"""What the crash lab lets a daemon work on when it strikes."""

from tests.faults.ward import WITNESS, Scenario

_ECHO = """\
---
name: {name}
type: tool
idempotent: {idempotent}
invoke:
  kind: tool
  function: echo
  witness: {witness}
{more}---
# {name}
"""
_PLAIN = "# Say this\n\nhello\n"
_TITLED = "---\npriority: high\ntype: research\n---\n# B\n\nwork\n"


def echo(name: str = "echo", *options: str, repeatable: bool = True) -> str:
    """An interface file for the in-process tool that writes each start to the witness; each option is a line of its own."""
    more = "".join(f"  {option}\n" for option in options)
    return _ECHO.format(name=name, witness=WITNESS, idempotent=str(repeatable).lower(), more=more)


THREE = Scenario(
    name="three tasks, two of them with the same text",
    interfaces={"echo.md": echo()},
    tasks={"Plain Title.md": _PLAIN, "b.md": _TITLED, "same as plain.md": _PLAIN},
)
UNREPEATABLE = Scenario(
    name="three tasks that must not be repeated unasked",
    interfaces={"echo.md": echo(repeatable=False)},
    tasks={"Plain Title.md": _PLAIN, "b.md": _TITLED, "same as plain.md": _PLAIN},
    repeatable=False,
)
ENDINGS = Scenario(
    name="a fallback, a failure, one that waited for it, and no task at all",
    interfaces={
        "echo.md": echo(),
        "broken.md": echo("broken", "fail: permanent"),
        "files.md": "---\nname: files\nidempotent: true\ninvoke:\n  kind: command\n"
        "  command: [sh, -c, 'echo kept > out/kept.txt; cat']\n---\n# Files\n",
    },
    tasks={
        "falls back.md": "---\npreferred_interface: broken\n---\n# Falls back\n",
        "fails.md": "---\ninterface: broken\nattempts: 1\n---\n# Fails\n",
        "waits.md": "---\ndepends_on: [fails]\n---\n# Waits\n",
        "malformed.md": "---\npriority: [no, priority\n---\n# Malformed\n",
        "leaves a file.md": "---\ninterface: files\n---\n# Leaves a file\n",
    },
    failed=3,
)
AGAIN = Scenario(
    name="a recorded task moved back, and a name dropped again",
    interfaces={"echo.md": echo()},
    before={"daily.md": _PLAIN, "b.md": _TITLED},
    retried=("b.md",),
    tasks={"daily.md": "# Say this\n\ngood-bye\n"},
)
EVERY = (THREE, UNREPEATABLE, ENDINGS, AGAIN)
