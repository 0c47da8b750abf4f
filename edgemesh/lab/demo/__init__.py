"""``scripts/demo``: scenarios that bring up a lab, make calls in it and check every answer."""
