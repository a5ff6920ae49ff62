"""Pictures for people: strips, colour maps, images inside HTML."""
