"""What the crash lab lets a daemon work on when it strikes."""

from tests.faults import acts
from tests.faults.acts import SHARED, WITNESS, work
from tests.faults.ward import Scenario

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
_HANDED = Scenario(
    name="an agent claims, renews, completes and fails",
    interfaces={"echo.md": echo()},
    tasks={"a.md": _PLAIN, "b.md": _TITLED},
    acts=(acts.claim, acts.renew, acts.complete, acts.claim, acts.fail, work),
    failed=1,
)
_LAPSED = Scenario(
    name="an agent vanishes, a person releases its task",
    interfaces={"echo.md": echo(repeatable=False)},
    tasks={"a.md": _PLAIN, "b.md": _TITLED},
    acts=(acts.claim_and_vanish, work, acts.release("b"), work),
    repeatable=False,
)
_CANCELLED = Scenario(
    name="one task is cancelled in pending/, one in an agent's hands",
    interfaces={"echo.md": echo()},
    tasks={"a.md": _PLAIN, "b.md": _TITLED, "c.md": "# C\n"},
    acts=(acts.cancel("a"), acts.claim, acts.cancel("b"), work),
    failed=2,
)
_PARKED = Scenario(
    name="a limit parks a task, a person lets it go on",
    interfaces={
        "limited.md": f"""\
---
name: limited
type: llm
idempotent: true
invoke:
  command:
    - sh
    - -c
    - |
      echo "$BRAIN_ATTEMPT_ID" >> {WITNESS}
      kind=ok; test -e {WITNESS}.met || kind=quota; : > {WITNESS}.met
      echo '{{"session": "s"}}'; echo "{{\\"kind\\": \\"$kind\\", \\"text\\": \\"done\\", \\"resets\\": 4000000000}}"
  resume: [go-on, "{{client_session}}"]
output:
  format: jsonl
  ok: out[-1].kind == 'ok'
  text: out[-1].text
  client_session: out[0].session
errors:
  - {{when: "out[-1].kind == 'quota'", kind: quota, resets_at: "num(out[-1].resets)"}}
  - {{kind: permanent}}
---
# Limited
"""
    },
    tasks={"a.md": _PLAIN},
    acts=(work, acts.release_all, work, acts.release_all, work),
)
_ASKED = Scenario(
    name="an agent asks, a person answers",
    interfaces={"echo.md": echo()},
    tasks={"a.md": _PLAIN, "b.md": _TITLED},
    acts=(acts.claim, acts.ask, acts.answer_all, acts.complete, work),
)
_CHAINED = Scenario(
    name="a chain of three, each told what the one before has found",
    interfaces={"echo.md": echo()},
    tasks={
        "a.md": _PLAIN,
        "b.md": "---\ndepends_on: [a]\nchain: c1\n---\n# B\n\nGo on.\n",
        "c.md": "---\ndepends_on: [b]\nchain: c1\n---\n# C\n\nEnd it.\n",
    },
)
_WORKFLOW = Scenario(
    name="a workflow with a fan-out",
    interfaces={"echo.md": echo()},
    workflows={
        "w.yaml": """\
name: w
steps:
  - {id: list, prompt: "one\\ntwo"}
  - {id: each, for_each: list, prompt: "<{item}>"}
  - {id: end, prompt: "{each}", depends_on: each}
"""
    },
    tasks={"job.md": "---\nworkflow: w\n---\n# A run\n"},
    spawns=True,
)
_NOTED = Scenario(
    name="a note for the pool, and a task that may find it",
    interfaces={"echo.md": echo()},
    tasks={"a.md": "# Bees\n\nHow do bees dance?\n"},
    acts=(acts.note, work),
)
_ARCHIVED = Scenario(
    name="older tasks are filed away",
    interfaces={"echo.md": echo()},
    before={"x.md": "# X\n", "y.md": "# Y\n", "z.md": "# Z\n"},
    tasks={"a.md": _PLAIN, "b.md": _TITLED},
    acts=(work, work),
    crowded=True,
)
_LIMITED = Scenario(
    name="messages are counted and a person is asked before the last ones",
    interfaces={
        "counted.md": echo("counted").replace("type: tool\n", "type: tool\nlimits: {messages_per_day: 2}\n"),
        "echo.md": echo(),
    },
    tasks={
        "a.md": "---\npreferred_interface: counted\n---\n# A\n",
        "b.md": "---\npreferred_interface: counted\n---\n# B\n",
        "c.md": "---\npreferred_interface: counted\n---\n# C\n",
    },
)
_APPROVED = Scenario(
    name="an interface that came with git is approved, then changed",
    interfaces={"echo.md": echo()},
    tasks={"a.md": _PLAIN, "b.md": _TITLED},
    foreign=True,
    acts=(work, acts.approve("echo"), work),
)
_RETRIED = Scenario(
    name="a failed task is retried with those that waited for it",
    interfaces={"echo.md": echo("echo", "fail: permanent")},
    tasks={
        "a.md": "---\nattempts: 1\n---\n# A\n",
        "b.md": "---\ndepends_on: [a]\n---\n# B\n",
        "c.md": "---\ndepends_on: [b]\n---\n# C\n",
    },
    acts=(work, acts.mend("echo.md", echo()), acts.retry("a"), work),
    failed=3,
)
_DROPPED = Scenario(
    name="a desktop application answers through a shared folder",
    interfaces={
        "desk.md": f"---\nname: desk\ntimeout: 1h\nidempotent: true\ninvoke:\n  kind: file_drop\n  folder: {SHARED}\n---\n# Desk\n"
    },
    tasks={"a.md": _PLAIN, "b.md": _TITLED},
)
EVERY = (
    THREE,
    UNREPEATABLE,
    ENDINGS,
    AGAIN,
    _HANDED,
    _LAPSED,
    _CANCELLED,
    _PARKED,
    _ASKED,
    _CHAINED,
    _WORKFLOW,
    _NOTED,
    _ARCHIVED,
    _LIMITED,
    _APPROVED,
    _RETRIED,
    _DROPPED,
)
# An application's answer that the power took is waited for again, and here nobody gives it a second time.
OF_OUR_OWN = tuple(scenario for scenario in EVERY if scenario is not _DROPPED)
