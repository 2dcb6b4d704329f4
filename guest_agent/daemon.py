"""The engine's process: started by the keeper with the listening socket as descriptor 3 and the channel as 4."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import logging
import os
import signal
import socket
import sys

from guest_agent.config import load_config
from guest_agent.engine.engine import Engine, open_engine
from guest_agent.http.server import serve
from guest_agent.keeper.client import KeeperClient
from guest_agent.store.paths import EnginePaths
from guest_agent.wire.errors import HostvmError

LISTENER_FD, CHANNEL_FD = 3, 4

log = logging.getLogger("guest_agent")


def run_daemon(paths: EnginePaths, config_path: str, hold: str = "") -> None:
    """Until the engine is told to end, or its keeper is gone."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    os.umask(0o022)
    for fd in (LISTENER_FD, CHANNEL_FD):
        os.set_inheritable(fd, False)
    if hold:
        wait_until_released(hold)
    asyncio.run(_main(paths, config_path))


def wait_until_released(hold: str) -> None:
    """Blocks, with everything imported, while somebody holds a lock on that file: the data aren't there yet.

    `HOLD.waiting` tells whoever holds it that the engine has got this far.
    """
    os.close(os.open(f"{hold}.waiting", os.O_WRONLY | os.O_CREAT, 0o600))
    descriptor = os.open(hold, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    os.close(descriptor)


async def _main(paths: EnginePaths, config_path: str) -> None:
    keeper = KeeperClient(socket.socket(fileno=CHANNEL_FD), paths.exit_journal)
    keeper.receive_inventory()
    keeper.attach(asyncio.get_running_loop())
    try:
        engine = await open_engine(paths, load_config(config_path), keeper)
    except HostvmError as error:
        keeper.failed(error.kind, error.message, error.hint)
        sys.exit(1)
    except Exception as error:
        log.exception("the engine can't start")
        keeper.failed(
            "internal", f"the engine can't start: {error}", f"this is a bug; {paths.engine_log} has its trace"
        )
        sys.exit(1)
    _settle_memory()
    _handle_signals(engine)
    keeper.ready()
    log.info("serving on %s", paths.socket)
    async with asyncio.TaskGroup() as tasks:
        lost = tasks.create_task(_end_without_keeper(keeper, engine))
        await serve(socket.socket(fileno=LISTENER_FD), engine, engine.stopping)
        lost.cancel()


def _handle_signals(engine: Engine) -> None:
    loop = asyncio.get_running_loop()
    endings: list[asyncio.Task[None]] = []

    def terminate() -> None:
        if not endings:
            endings.append(loop.create_task(engine.shutdown(keep_containers=False)))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, terminate)


async def _end_without_keeper(keeper: KeeperClient, engine: Engine) -> None:
    """A killed keeper can't be replaced from here: the next client starts both anew, and containers are adopted."""
    await keeper.lost.wait()
    log.error("the keeper is gone: ending, so that the next client can start both anew")
    engine.stopping.set()


def _settle_memory() -> None:
    """What start-up made lives as long as the process: the collector needn't look at it again and again."""
    gc.collect()
    gc.freeze()
