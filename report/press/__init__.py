"""Executed notebooks become HTML and PDF: any notebooks, for this wing knows neither `lib`'s networks nor the study."""
