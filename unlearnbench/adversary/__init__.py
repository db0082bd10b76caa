"""What an attack is shown, how it asks for it, what it claims, and the decoders that it may use."""
