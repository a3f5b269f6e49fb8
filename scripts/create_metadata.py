#!/usr/bin/env python3
"""The same as `kite-hft metadata`: daily history as metadata.parquet and metadata.json; --help tells more."""

import typer

from kite_hft.app.setup.metadata import metadata

if __name__ == "__main__":
    typer.run(metadata)
