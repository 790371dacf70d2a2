"""The command line `chat`: migrate, export, erase, import, sweep, doctor. The function never loads it."""
