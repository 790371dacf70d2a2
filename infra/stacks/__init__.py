"""The three stacks of a stage and their names."""
