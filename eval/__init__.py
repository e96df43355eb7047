"""Evaluation: the suites, their scoring, the result database and every table and figure."""

# Metaflow packs only the flow's own folder unless a package asks to travel to remote tasks.
METAFLOW_PACKAGE_POLICY = "include"
