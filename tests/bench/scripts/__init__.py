"""Small programs that run in processes of their own, by their file, and import nothing from here."""
