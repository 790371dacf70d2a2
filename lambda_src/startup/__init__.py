"""Fast starts: lazy imports of two libraries' packages, and the flags that switch optimizations off."""
