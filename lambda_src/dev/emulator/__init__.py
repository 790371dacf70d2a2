"""AWS Lambda on a laptop: a function URL in front of real runtime processes, over real Runtime API sockets.

emulator   the class to use: `async with Emulator("package.module.handler") as emulator: emulator.url`
front      HTTP in, HTTP out: the function URL        events, cors   its pure halves
delivery   one invocation on its way back             bandwidth      how fast it may leave
sandbox    one process and its life                   states         what it may say to the Runtime API, and when
runtime_api, exchange, protocol   the server it talks to
snapshot   breaks connections, as a restore does      reaper         no process outlives the emulator
switches   what differs between modes, and what people report of AWS

Shares no code with lambda_src/runtime: each end of the wire is written from AWS's documentation, so that a mistake in
one of them shows. Knows no ChatKit and no framework: it runs any handler.
"""

from lambda_src.dev.emulator.emulator import Emulator
from lambda_src.dev.emulator.switches import Cors, Switches

__all__ = ["Emulator", "Switches", "Cors"]
