"""What runs: one package, one deployable. The way in is handler.py (Lambda) or dev/ (a laptop)."""

from lambda_src import cold_start

cold_start.install()  # here, so that it comes before whatever module of ours imports a library
