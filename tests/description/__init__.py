"""Docker's own description of its API (tests/data/docker-api), and whether an exchange is as it says."""
