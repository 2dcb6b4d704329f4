"""The host side as it is on a Mac, as far as that can be had on Linux."""
