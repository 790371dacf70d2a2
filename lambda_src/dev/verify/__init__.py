"""`make verify URL=...`: what a deployment does, seen from outside, row by row. Works on AWS and on `make dev` alike.

row.py          what a row is
deployment.py   a deployment as one client meets it: signing in, asking, streams with the time each event came
answers.py      rows about single answers
streams.py      rows about turns
unknowns.py     what AWS leaves open (the emulator's switches), each a row, seen or not
result.py       the rows as a file without addresses or accounts, and as a table
"""
