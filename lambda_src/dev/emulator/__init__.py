"""AWS Lambda on a laptop: a function URL in front of real runtime processes, over real Runtime API sockets.

emulator   the class to use: `async with Emulator("package.module.handler") as emulator: emulator.url`
front      HTTP in, HTTP out: the function URL        events, cors   its pure halves
delivery   one invocation on its way back             bandwidth      how fast it may leave
sandbox    one process and its life                   states         what it may say to the Runtime API, and when
runtime_api, exchange   the server it talks to
switches   what differs between modes, and what people report of AWS

Shares runtime/protocol.py with the runtime, so that both ends of the wire are one definition. Knows no ChatKit and no
framework: it runs any handler.
"""

from lambda_src.dev.emulator.emulator import Emulator
from lambda_src.dev.emulator.switches import Cors, Switches

__all__ = ["Emulator", "Switches", "Cors"]
