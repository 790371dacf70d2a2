"""`make verify URL=...`: what a deployment does, seen from outside, row by row. Works on AWS and on `make dev` alike.

row.py          what a row is
deployment.py   a deployment as one client meets it: signing in, asking, streams with the time each event came
answers.py      rows about single answers
streams.py      rows about turns
inside.py       rows that AWS's own APIs answer about a stage
buffered.py     how the answers of the local AWS's function URLs are read
unknowns.py     what AWS leaves open (the emulator's switches), each a row, seen or not
result.py       the rows as a file without addresses or accounts, and as a table
"""
