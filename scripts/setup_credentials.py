#!/usr/bin/env python3
"""The keys of your brokers in one encrypted file: the same as `kite-hft credentials`."""

import typer

from kite_hft.app.keys.credentials import credentials

if __name__ == "__main__":
    typer.run(credentials)
