"""Tools for agents: the model and its stores over the Model Context Protocol.

`tools` does the work with the Python API, `server` gives it the protocol's faces, `run` puts both on standard input
and output. Only files below the folders that the user named are read.
"""
