"""Tools for agents: the model and its stores over the Model Context Protocol.

`tools` does the work with the Python API, `server` offers it over the protocol, `stdio` serves it on standard input and
output. Only files below the folders that the user named are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medimageinsight._lazy import lazy_exports

if TYPE_CHECKING:
    from medimageinsight.mcp.stdio import McpSettings, open_tools, run

__all__ = ["McpSettings", "open_tools", "run"]

__getattr__, __dir__ = lazy_exports(__name__, __all__, dict.fromkeys(__all__, "stdio"))
