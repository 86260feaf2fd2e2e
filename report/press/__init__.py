"""Executed notebooks become HTML and PDF: any notebooks, for this wing knows neither `lib`'s networks nor the study."""

LABEL = r"(fig|tbl)-[a-z0-9]+(-[a-z0-9]+)*"  # of a figure or a table, as display.py writes and export.py reads it
