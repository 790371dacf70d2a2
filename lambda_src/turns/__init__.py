"""The life of a turn: one user input and everything it sets off. Knows neither the server nor the model."""
