"""Requests and responses, once for HTTP and MCP."""

from __future__ import annotations
