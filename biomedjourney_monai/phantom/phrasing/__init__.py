"""The words of phantom reports: vocabulary as tables, a voice that chooses among them, statements built from both."""
