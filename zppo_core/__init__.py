"""The method of ZPPO (arXiv 2606.18216), without Metaflow: algorithm, engines, trainer, store."""

# Metaflow packs only the flow's own folder unless a package asks to travel to remote tasks.
METAFLOW_PACKAGE_POLICY = "include"
