"""The ChatKit server and the requests that it answers."""
