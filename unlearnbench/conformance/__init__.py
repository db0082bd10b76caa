"""What every plugin is held to, whoever wrote it: `unlearnbench check NAME`, and `failures` for a plugin's own tests.

A plugin is checked in a process of its own, which refuses connections and writes, and which may hang or die without
harm. One idea a file, one small function a check; `suites` says which checks a kind of plugin has.
"""

from unlearnbench.conformance.rulings import Result, Status
from unlearnbench.conformance.supervisor import TIME_LIMIT, CheckRequest, PluginReport, check, failures

__all__ = ["TIME_LIMIT", "CheckRequest", "PluginReport", "Result", "Status", "check", "failures"]
