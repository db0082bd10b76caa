"""What every plugin is checked for, whoever wrote it: `unlearnbench check NAME`, and `failures` for a plugin's own
tests.

A plugin runs in a separate process, which refuses connections and writes, and which may hang or die without harm. Each
rule is one small function; `suites` lists the rules for each kind of plugin.
"""

from unlearnbench.conformance.rulings import Result, Status
from unlearnbench.conformance.supervisor import TIME_LIMIT, CheckRequest, PluginReport, check, failures

__all__ = ["TIME_LIMIT", "CheckRequest", "PluginReport", "Result", "Status", "check", "failures"]
