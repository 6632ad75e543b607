"""The network: connections (``stream``), web requests (``http``) and credentials (``tokens``)."""
