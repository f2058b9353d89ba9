"""One file per figure: a function that computes its data, and functions that draw them.

``*_info`` returns tables and plain values, ``draw_*`` a plotly figure for pages, ``*_matplotlib`` a figure for PNGs.
"""
