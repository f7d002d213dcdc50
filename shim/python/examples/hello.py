"""Python and Node in one process, on one V8.

    RELINK_LIBRARY=…/librelink.so python hello.py GUEST

The process must have a V8: here a module that was imported or a library that was loaded before brings it.
"""

import asyncio
import sys

import relink


def main(guest):
    with relink.Runtime(guest) as node:

        @node.register("greeting")
        def greeting(name):
            return f"Hello from Python, {name}"

        script = node.run_string(
            "exports.ask = (name) => relink.host.greeting(name) + ` and from Node ${process.version}`;\n"
            "exports.later = async (ms) => { await new Promise((done) => setTimeout(done, ms)); return `after ${ms} ms`; };",
            "script",
        )
        print(script.ask("world"))

        async def both():
            calls = [node.call_async("script.later", ms) for ms in (20, 10)]
            return await asyncio.gather(*map(asyncio.wrap_future, calls))

        print(asyncio.run(both()))


if __name__ == "__main__":
    main(sys.argv[1])
