"""Stand-ins for services that Mediakeep talks to: for its tests, and for its users' own.

They stand on their own: nothing of Mediakeep is in them, so that they cannot share its mistakes.
"""
