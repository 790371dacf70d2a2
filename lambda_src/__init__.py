"""What runs: one package, one deployable. The way in is handler.py (Lambda) or dev/ (a laptop)."""
