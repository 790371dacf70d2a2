"""What runs: one package, one deployable. The entry points are handler.py (Lambda) and dev/ (a laptop)."""
