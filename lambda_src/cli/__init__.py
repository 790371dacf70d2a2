"""The command line `chat`: migrate, export, erase, import, sweep, doctor, talk, keys. The function never loads it."""
