"""A name that tries to be something else in every format."""

EVIL = "[red]x[/red]|`y`<script>alert(1)</script>\n| a | \x1b[31m & $e^{1}$ _b_ \\end{table} =1 \u202e http://x.example"
