"""A Lambda runtime that streams: runs any ASGI app behind the Runtime API, in one asyncio process.

protocol, http1   the wire as values and bytes; no IO
connection, client, reply   the runtime's end of the wire, on sockets
stop, worker      the life of an invocation: next -> answer -> next, and the one way to stop it
cycle, lifespan   ASGI
handler, adapter, loading   what may be run: a StreamingHandler, or an ASGI app by StreamingMangum; and its import
snapstart, logs, context, environment   what else Lambda expects of a runtime
__main__          `python -m lambda_src.runtime`, the composition root

Knows no framework, no ChatKit, no AWS SDK: nothing outside this folder may know how an answer leaves.
"""
