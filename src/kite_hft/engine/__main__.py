"""Layer 5, supervisor, cold: `python -m kite_hft.engine`: loads the engine's command and runs it."""

from __future__ import annotations

from kite_hft.loading import loading


def main() -> None:
    """The command line of engine/command.py."""
    with loading():
        import typer

        from kite_hft.engine.command import main as command
    typer.run(command)


if __name__ == "__main__":
    main()
