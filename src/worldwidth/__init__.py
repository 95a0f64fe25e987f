"""worldwidth: does the width of a small transformer change how it takes in new entities?

How the code is laid out: docs/architecture.md.
"""
