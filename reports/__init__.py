"""Tables, figures and the page: pure functions of stored rows. Imports only the hub, and no torch."""
