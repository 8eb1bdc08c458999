"""`brain ask`: a question to the person, from inside a task or from an agent that has claimed one."""

from contextlib import closing

import click

from brain_daemon.service import asking
from brain_daemon.service.brain import Brain
from brain_daemon.surfaces.calls import Call, json_option, print_json
from brain_daemon.surfaces.tables import say
from brain_daemon.surfaces.texts import text_of


@click.command("ask")
@click.argument("first", metavar="[ID]")
@click.argument("second", metavar="QUESTION", required=False)
@click.option("--as", "agent", metavar="NAME", help="Who you are, where you claimed the task; also BRAIN_AGENT.")
@json_option
@click.pass_obj
def ask_command(call: Call, first: str, second: str | None, agent: str | None, as_json: bool) -> None:
    """Ask the person: inside a task about that task, else about the claimed task ID. `-` reads the question from standard input.

    Inside a task the answer comes when its run has ended; for an agent `brain questions --answered` shows it.

    Example: brain ask "Which of the two tables is the right one?"
    """
    text = text_of(second if second is not None else first, None, "question")
    if second is None:
        task_id = asking.ask_inside(call.layout, call.environment, text)
        question_id, then = None, "your question is kept: end your run now, you are resumed with the answer"
    else:
        with closing(Brain.open(call.brain_root, call.environment)) as brain:
            question = asking.ask_about_claim(brain, first, text, agent or call.environment.get("BRAIN_AGENT"))
        task_id, question_id = question.subject, question.id
        then = f"asked; go on with what you can. `brain questions --answered {question.id}` shows the answer"
    if as_json:
        print_json({"task_id": task_id, "question": question_id, "said": then})
    else:
        say(f"{task_id}: {then}")
