"""The command `cometring`: one module a group of commands."""
