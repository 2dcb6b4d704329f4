"""`python -m guest_agent serve|engine`: the keeper's start, and the engine that the keeper starts."""

from __future__ import annotations

import argparse

from guest_agent.store.paths import EnginePaths


def main() -> None:
    """Parse and hand over; the two commands import nothing of each other."""
    parser = argparse.ArgumentParser(prog="guest_agent")
    parser.add_argument("command", choices=("serve", "engine"))
    parser.add_argument("--data", default="/var/lib/hostvm")
    parser.add_argument("--run", default="/run/hostvm")
    parser.add_argument("--config", default="/etc/hostvm/config.toml")
    parser.add_argument("--ready-fd", type=int, default=1)
    parser.add_argument("--log", default="", help="where keeper and engine write; - is where they were started")
    parser.add_argument("--hold", default="", help="a file: the engine waits until nobody holds a lock on it")
    arguments = parser.parse_args()
    paths = EnginePaths(arguments.data, arguments.run)
    if arguments.command == "serve":
        from guest_agent.serve import serve

        serve(paths, arguments.config, arguments.ready_fd, arguments.log or paths.engine_log, arguments.hold)
    else:
        from guest_agent.daemon import run_daemon

        run_daemon(paths, arguments.config, arguments.hold)


if __name__ == "__main__":
    main()
