"""The tasks and workers of benchmarks/peers.py, each in a process of its own: `python benchmarks/peer_workers.py PEER PLACE`.

PLACE is a file, a socket or a connection string. A worker runs until it is told to end.
"""

import asyncio
import subprocess
import sys
import time
from pathlib import Path


def nothing(number: int) -> int:
    """The work: none, so that what is measured is the queue."""
    return number


def a_process(number: int) -> int:
    """The work of the cases that start a program."""
    subprocess.run(["/bin/true"], check=True)
    return number


def huey_queue(place: str):  # type: ignore[no-untyped-def]  # the package has no types
    """huey on SQLite, synced; and its two tasks."""
    from huey import SqliteHuey  # noqa: PLC0415 - of this peer alone

    queue = SqliteHuey("bench", filename=place, fsync=True)
    return queue, {"tool": queue.task()(nothing), "process": queue.task()(a_process)}


def procrastinate_app(place: str):  # type: ignore[no-untyped-def]  # as above
    """procrastinate on PostgreSQL; and its two tasks."""
    import procrastinate  # noqa: PLC0415 - of this peer alone

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=place))
    return app, {"tool": app.task(name="tool")(nothing), "process": app.task(name="process")(a_process)}


def run_huey(place: str) -> None:
    queue, _ = huey_queue(place)
    queue.create_consumer(workers=1, worker_type="thread", initial_delay=0.01, max_delay=0.01).run()


def run_procrastinate(place: str) -> None:
    app, _ = procrastinate_app(place)

    async def work() -> None:
        async with app.open_async():
            await app.run_worker_async(concurrency=1, fetch_job_polling_interval=0.05)

    asyncio.run(work())


def run_rq(place: str) -> None:
    from redis import Redis  # noqa: PLC0415 - of this peer alone
    from rq import Queue, SimpleWorker  # noqa: PLC0415 - of this peer alone

    connection = Redis(unix_socket_path=place)
    SimpleWorker([Queue(connection=connection)], connection=connection).work(logging_level="ERROR")


def run_dirq(place: str) -> None:
    from dirq.QueueSimple import QueueSimple  # noqa: PLC0415 - of this peer alone

    queue, done = QueueSimple(place), Path(place + ".done")
    done.mkdir(exist_ok=True)
    while True:
        for name in queue:
            if queue.lock(name):
                kind, _, number = queue.get(name).decode().partition(" ")
                (nothing if kind == "tool" else a_process)(int(number))
                (done / number).write_text("done")
                queue.remove(name)
        time.sleep(0.005)


RUN = {"huey": run_huey, "procrastinate": run_procrastinate, "rq": run_rq, "dirq": run_dirq}

if __name__ == "__main__":
    import peer_workers  # queues know a task by its module's name, which here would be another than for who hands it in

    peer_workers.RUN[sys.argv[1]](sys.argv[2])
