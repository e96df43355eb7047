"""What each step of the flows does; the flows themselves only wire."""

# Metaflow packs only the flow's own folder unless a package asks to travel to remote tasks.
METAFLOW_PACKAGE_POLICY = "include"
