"""BuildKit's protocol in front of our own build: what buildx and compose v2 speak to the "docker" driver.

Glossary: a *job* is one build as BuildKit's client has it, known by its ref: a `Solve` that waits, a *gateway* through
which the client says what shall be built, and a `Status` that tells. A *session* is the client's own side: a second
connection, on which we call and the client answers: files, secrets, credentials.
"""
