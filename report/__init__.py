"""All that only the report needs: statistics, figures, diagrams and how the notebooks become HTML and PDF."""
