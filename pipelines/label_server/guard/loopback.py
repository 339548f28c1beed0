"""The names of this machine that no other machine reaches it by."""

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
