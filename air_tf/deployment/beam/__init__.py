"""Exported models in pipelines of Apache Beam; needs the extra `scale`."""
