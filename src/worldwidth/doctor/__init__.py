"""`worldwidth doctor`: what is wrong with this project on this machine, and the command that fixes it.

It changes nothing. Every check imports what it needs by itself, so that this runs, and says what is missing, where
nothing but Python is installed.
"""
