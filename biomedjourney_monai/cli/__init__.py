"""The command line: one verb per stage, one module per verb."""
