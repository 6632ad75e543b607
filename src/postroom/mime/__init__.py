"""Message to facts. Pure, and never raises on what a message holds: what cannot be read is said in the facts' ``fault``."""
