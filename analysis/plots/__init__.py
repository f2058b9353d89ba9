"""One file per figure: a function that computes what it shows, and functions that draw that.

``*_info`` gives tables and plain values, ``draw_*`` a plotly figure for pages, ``paint_*`` a matplotlib one for PNGs.
"""
