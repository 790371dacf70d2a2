"""AWS Lambda on a laptop: a function URL in front of real runtime processes, over real Runtime API sockets.

emulator   the class to use: `async with Emulator("package.module.handler") as emulator: emulator.url`
front      HTTP server of the function URL            events, cors   its pure parts
delivery   one response on its way to the caller      bandwidth      its rate limit
sandbox    one runtime process, from start to end     states         which Runtime API calls it may make, and when
runtime_api, exchange, protocol   the Runtime API server
snapshot   breaks connections, as a restore does      reaper         no process outlives the emulator
switches   modes, and behaviors that AWS does not document

Shares no code with lambda_src/runtime: both ends of the protocol are written from AWS's documentation, so that a
mistake in one of them shows. Knows no ChatKit and no framework: it runs any handler.
"""

from lambda_src.dev.emulator.emulator import Emulator
from lambda_src.dev.emulator.switches import Cors, Switches

__all__ = ["Emulator", "Switches", "Cors"]
