"""Other people's clients against our socket, each used as its users use it."""
