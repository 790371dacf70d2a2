"""The composition root: builds all parts and joins them."""
