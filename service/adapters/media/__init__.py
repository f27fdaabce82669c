"""Media files on their way to the PIM: downloads over HTTP, and the folder that they wait in."""
