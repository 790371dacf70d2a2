"""`make eval`: how well your agent does on a file of cases. `cases` reads them, `running` runs and counts."""
