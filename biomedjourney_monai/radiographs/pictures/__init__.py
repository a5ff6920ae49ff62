"""Pictures to look at: strips, colour maps, images inside HTML."""
