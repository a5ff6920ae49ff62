"""Sources of studies, and the eligible ones among them."""
