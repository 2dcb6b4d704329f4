"""What both sides of the border share: errors, frames and API models. Imports nothing of the project."""
