"""The table of `docs/compatibility.md`: input features, output forms, and who reads what comes of them."""
