"""Recipes that turn Debian packages into images: container base images, and the VM's own."""
