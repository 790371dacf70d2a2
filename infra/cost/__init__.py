"""What a stage costs: idle and under load."""
