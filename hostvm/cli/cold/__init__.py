"""What may take its time: help, progress bars, credential helpers. Only here are typer and rich imported."""
