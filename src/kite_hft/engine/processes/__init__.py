"""Layer 5: the processes of a run: started, told, heard, started again."""
