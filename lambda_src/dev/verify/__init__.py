"""`make verify URL=...`: black-box checks of a deployment, one row per check. Works on AWS and with `make dev`.

row.py          the result of one check
deployment.py   client for a deployment: signing in, requests, streams with the time of each event
answers.py      checks of single responses
streams.py      checks of turns
inside.py       checks of a stage through AWS's APIs
buffered.py     HTTP transport for function URLs of the local AWS
unknowns.py     behaviors that AWS leaves open (the emulator's switches), one row each
result.py       the rows as a file without addresses or accounts, and as a table
"""
