"""Values and laws: what a task, an interface, an attempt and an outcome are. No I/O, no clock."""
