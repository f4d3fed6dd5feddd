"""One self-contained HTML page out of audio, figures, curves and tables: see `page` and `figures`."""
