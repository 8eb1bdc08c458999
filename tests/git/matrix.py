"""All cells of the git matrix, as a table: `make git-matrix`. Prints what is wrong, and exits 1 if anything is.

A cell needs half a second of processor time: all 190 take some two minutes on an idle machine. `--states` and `--actions` name some of them.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a program, this file is not below a known folder

from tests.git.cells import ACTIONS, Bench, Cell
from tests.git.states import STATES, State, Templates

_CONFIG = "[user]\n\tname = Ann\n\temail = ann@example.org\n[init]\n\tdefaultBranch = main\n"


def own_home(folder: Path) -> None:
    """Nothing of the machine this runs on."""
    for name in [name for name in os.environ if name.startswith(("GIT_", "BRAIN_", "XDG_"))]:
        del os.environ[name]
    folder.mkdir()
    (folder / ".gitconfig").write_text(_CONFIG)
    os.environ["HOME"] = str(folder)
    os.environ["GIT_CONFIG_NOSYSTEM"] = "1"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--states", default="", help="names, separated by semicolons")
    parser.add_argument("--actions", default=",".join(ACTIONS))
    arguments = parser.parse_args()
    actions = arguments.actions.split(",")
    chosen = [STATES[name] for name in arguments.states.split(";") if name] or list(STATES.values())
    began = time.monotonic()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="git-matrix-") as folder:
        own_home(Path(folder, "home"))
        bench = Bench(Templates(Path(folder)))
        print(f"| state | {' | '.join(actions)} |\n|{'---|' * (len(actions) + 1)}", flush=True)
        for state in chosen:
            print(_row(bench, state, actions, wrong), flush=True)
    seconds = time.monotonic() - began
    print(f"\n{len(chosen) * len(actions)} cells, {len(wrong)} differences, {seconds:.0f} s", *wrong, sep="\n")
    return 1 if wrong else 0


def _row(bench: Bench, state: State, actions: list[str], wrong: list[str]) -> str:
    cells = [(action, _tried(bench, state, action)) for action in actions]
    wrong += [f"{state.name}, {action}: {one}" for action, cell in cells for one in cell.wrong]
    return f"| {state.name} | {' | '.join('**wrong**' if cell.wrong else cell.commit for _, cell in cells)} |"


def _tried(bench: Bench, state: State, action: str) -> Cell:
    try:
        return bench.cell(state, action)
    except Exception as error:  # noqa: BLE001 - told in the table, and the next cell has its turn
        return Cell("", (f"{type(error).__name__}: {error}",))


if __name__ == "__main__":
    sys.exit(main())
