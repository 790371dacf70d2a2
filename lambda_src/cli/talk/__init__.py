"""`chat talk`: a chat in the terminal with a local or deployed assistant."""
