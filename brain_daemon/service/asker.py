"""When the daemon asks a person, and when it stops asking: about held tasks, and about interfaces that came with git."""

from collections.abc import Callable

from brain_daemon.adapters.registry import Registry
from brain_daemon.record.questions import Question, QuestionKind
from brain_daemon.service import inquiries
from brain_daemon.service.dispatch import Dispatch, Held
from brain_daemon.service.intake import Intake
from brain_daemon.store.journal import Journal

_ABOUT_HELD = frozenset({QuestionKind.NO_INTERFACE, QuestionKind.SECRET})


class Asker:
    """Each question is put once and withdrawn when its reason has gone; `changed` is called when any of that happens."""

    def __init__(
        self, journal: Journal, registry: Registry, intake: Intake, dispatch: Dispatch, changed: Callable[[], None]
    ) -> None:
        self._journal = journal
        self._registry = registry
        self._intake = intake
        self._dispatch = dispatch
        self._changed = changed
        self._asked: set[str] = set()
        self.due = False

    def about_interfaces(self) -> None:
        """An interface that came with git is asked about until it is approved, and anew when its content changes."""
        standing = self._journal.questions()
        for name, entry in self._registry.entries.items():
            question = inquiries.approval(name, entry.spec.sha256)
            if entry.approved or question.id not in standing:
                inquiries.withdraw_about(self._journal, name, QuestionKind.APPROVAL)
            if not entry.approved:
                inquiries.ask(self._journal, question)

    def about_held(self) -> None:
        """What only a person or a new interface can free."""
        logins = self._open_logins()
        for name, held in list(self._dispatch.held.items()):
            question = self._question_about(name, held, logins)
            if question is not None and question.id not in self._asked:
                self._asked.add(question.id)
                if inquiries.ask(self._journal, question):
                    self._changed()

    def _open_logins(self) -> frozenset[tuple[str, str]]:
        """The interfaces whose login a person is asked about already, each with why it cannot be used."""
        if all(held.nobody is None for held in self._dispatch.held.values()):
            return frozenset()
        documents = (document for document, _ in self._journal.questions().values())
        about = {one["subject"] for one in documents if one["kind"] == QuestionKind.AUTH}
        return frozenset((name, one.why_not) for name, one in self._registry.entries.items() if name in about)

    def _question_about(self, name: str, held: Held, logins: frozenset[tuple[str, str]]) -> Question | None:
        pending = self._intake.tasks.get(name)
        if pending is None:
            return None
        if held.nobody is not None:
            # A task that only waits for a login is no second question.
            waits = not logins.isdisjoint(held.nobody.rejected)
            return None if waits else inquiries.nobody(pending.id, held.nobody)
        return None if pending.finding is None else inquiries.secret(pending.id, pending.finding)

    def withdraw_settled(self) -> None:
        """Questions about held tasks go when nothing is held for their reason any more; looked at when all tasks are judged."""
        if not self.due or len(self._dispatch) or self._intake.next_due is not None:
            return
        self.due = False
        logins = self._open_logins()
        held = self._dispatch.held.items()
        wanted = {question.id for name, one in held if (question := self._question_about(name, one, logins))}
        stale = [
            key
            for key, (document, _) in self._journal.questions().items()
            if document["kind"] in _ABOUT_HELD and key not in wanted
        ]
        for key in stale:
            self._journal.withdraw(key)
            self._asked.discard(key)
        if stale:
            self._changed()
